"""Focal and DIoU loss against their formulas and numeric gradients."""

import math

import pytest
import torch

from pipeline.heads.losses import diou_loss_1d, sigmoid_focal_loss


def test_focal_loss_is_the_papers_formula() -> None:
    for logit, target, alpha, gamma in ((0.7, 1.0, 0.25, 2.0), (-1.3, 0.0, 0.25, 2.0), (2.0, 0.0, 0.6, 1.5)):
        p = 1 / (1 + math.exp(-logit))
        p_t, alpha_t = (p, alpha) if target == 1 else (1 - p, 1 - alpha)
        want = -alpha_t * (1 - p_t) ** gamma * math.log(p_t)
        got = sigmoid_focal_loss(
            torch.tensor([logit], dtype=torch.float64),
            torch.tensor([target], dtype=torch.float64),
            alpha=alpha,
            gamma=gamma,
        )
        assert got.item() == pytest.approx(want, rel=1e-12)


def test_focal_loss_stays_finite_for_extreme_logits() -> None:
    logits = torch.tensor([-200.0, 200.0, -200.0, 200.0], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([1.0, 1.0, 0.0, 0.0]), alpha=0.25, gamma=2.0)
    assert loss.tolist() == pytest.approx([50.0, 0.0, 0.0, 150.0])
    loss.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_diou_loss_worked_by_hand() -> None:
    def loss(predicted: list[float], target: list[float]) -> float:
        return diou_loss_1d(torch.tensor([predicted]).double(), torch.tensor([target]).double()).item()

    assert loss([3.0, 5.0], [3.0, 5.0]) == 0
    # [-1, 1] against [-2, 4]: overlap 2, union 6, centers 0 and 1, hull 6.
    assert loss([1.0, 1.0], [2.0, 4.0]) == pytest.approx(1 - 2 / 6 + (1 / 6) ** 2)
    # [-4, 0] against [0, 4]: no overlap, centers 4 apart, hull 8.
    assert loss([4.0, 0.0], [0.0, 4.0]) == pytest.approx(1 + 0.25)


def test_diou_loss_of_an_empty_segment_is_finite() -> None:
    predicted = torch.zeros(1, 2, requires_grad=True)
    diou_loss_1d(predicted, torch.tensor([[1.0, 1.0]])).sum().backward()
    assert torch.isfinite(predicted.grad).all()


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    targets = (torch.rand(4, 3, dtype=torch.float64) > 0.5).double()
    assert torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, targets, alpha=0.25, gamma=2.0), (logits,))
    predicted = (torch.rand(6, 2, dtype=torch.float64) + 0.1).requires_grad_()
    target = torch.rand(6, 2, dtype=torch.float64) + 0.1
    assert torch.autograd.gradcheck(lambda x: diou_loss_1d(x, target), (predicted,))
