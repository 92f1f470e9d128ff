"""The target, the predicted matrix and the loss, compared with values worked by hand and with the equations."""

import math

import numpy as np
import pytest
import torch

from sola.config import SolaConfig
from sola.errors import SolaError
from sola.fit_state import new_fit_state
from sola.fit_step import batch_loss, train_step
from sola.sampling import WindowBatch
from sola.similarity import loss_bounds, predicted_tsm, self_similarity, similarity_loss, target_tsm

# Three snippets of two channels: x right, y up, and the diagonal between them.
Z = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]]], dtype=torch.float64)
HALF = (1 + math.sqrt(0.5)) / 2


def test_target_of_three_snippets_is_the_hand_worked_one() -> None:
    near, far = 1 / (1 + math.exp(-16)), 1 / (1 + math.exp(-4))
    expected = [[1, near, far], [near, 1, near], [far, near, 1]]
    assert target_tsm(3, 16.0).tolist() == pytest.approx(np.array(expected), abs=1e-15)
    assert far == pytest.approx(0.98201379, abs=1e-8)


def test_target_tends_to_unrelated_with_the_interval() -> None:
    row = target_tsm(200, 16.0)[0]
    assert torch.all(row[1:] < row[:-1])
    assert row[-1] == pytest.approx(0.5, abs=2e-4)


def test_predicted_matrix_of_three_snippets_is_the_hand_worked_one() -> None:
    expected = [[1, 0.5, HALF], [0.5, 1, HALF], [HALF, HALF, 1]]
    assert predicted_tsm(Z, Z)[0].tolist() == pytest.approx(np.array(expected), abs=1e-15)


def test_predicted_matrix_has_features_in_rows_and_predictions_in_columns() -> None:
    p = torch.tensor([[[0.0, -1.0], [0.0, 1.0], [0.0, 5.0]]], dtype=torch.float64)
    expected = [[0.5, 0.5, 0.5], [0, 1, 1], [1 - HALF, HALF, HALF]]
    assert predicted_tsm(Z, p)[0].tolist() == pytest.approx(np.array(expected), abs=1e-15)


def test_loss_of_three_snippets_is_the_hand_worked_one() -> None:
    p = torch.tensor([[[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]], dtype=torch.float64)
    # Every prediction lies on the diagonal, so rows 0 and 1 hold HALF throughout, and row 2 holds 1 throughout.
    # Against the target 0.75 everywhere the entries of row 2 would be infinite; its target is 1 instead: entropy 0.
    target = torch.tensor([[0.75] * 3, [0.75] * 3, [1.0] * 3], dtype=torch.float64)
    entry = -(0.75 * math.log(HALF) + 0.25 * math.log(1 - HALF))
    # The cosine of the third row is 1 up to rounding, so its entropy is 0 up to rounding.
    assert float(similarity_loss(Z, p, target)) == pytest.approx(6 * entry / 9, abs=1e-12)


def test_loss_counts_only_pairs_of_valid_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    z, p = torch.randn(2, 2, 4, 6, generator=generator, dtype=torch.float64)
    target = target_tsm(4, 16.0)
    valid = torch.tensor([[True, True, False, False], [False, True, False, False]])
    entropies = []
    for item, i, j in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 1)]:
        cosine = z[item, i] @ p[item, j] / z[item, i].norm() / p[item, j].norm()
        q, t = (1 + cosine) / 2, target[i, j]
        entropies.append(-(t * q.log() + (1 - t) * (1 - q).log()).item())
    assert float(similarity_loss(z, p, target, valid)) == pytest.approx(np.mean(entropies), abs=1e-12)


def test_the_bounds_of_the_loss_are_the_hand_worked_ones() -> None:
    target = torch.tensor([[1.0, 0.5, 0.1], [0.5, 1.0, 0.1], [0.1, 0.1, 1.0]])
    valid = torch.tensor([[True, True, False]])
    # Of the valid pairs two are 1 and two are a half, which leaves a coin's entropy; their mean is 3/4.
    constant, least = loss_bounds(target, valid)
    assert constant.item() == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4), abs=1e-12)
    assert least.item() == pytest.approx(math.log(2) / 2, abs=1e-12)
    # Of all nine 3 are 1, 2 a half, 4 a tenth.
    constant, least = loss_bounds(target)
    mean = (3 + 1 + 0.4) / 9
    assert constant.item() == pytest.approx(-mean * math.log(mean) - (1 - mean) * math.log(1 - mean), abs=1e-7)
    tenth = -0.1 * math.log(0.1) - 0.9 * math.log(0.9)
    assert least.item() == pytest.approx((2 * math.log(2) + 4 * tenth) / 9, abs=1e-7)


def test_no_constant_prediction_has_less_loss_than_the_bound_and_the_target_has_its_entropy() -> None:
    target = target_tsm(8, 16.0)
    constant, least = loss_bounds(target)
    assert constant.item() == pytest.approx(0.38536, abs=1e-5)
    losses = []
    for similarity in np.linspace(0.01, 0.99, 981):
        angle = math.acos(2 * similarity - 1)
        z = torch.tensor([[[1.0, 0.0]] * 8], dtype=torch.float64)
        p = torch.tensor([[[math.cos(angle), math.sin(angle)]] * 8], dtype=torch.float64)
        losses.append(similarity_loss(z, p, target).item())
    assert min(losses) >= constant.item()
    assert min(losses) == pytest.approx(constant.item(), abs=1e-5)
    t = target[~torch.eye(8, dtype=torch.bool)].numpy()
    entropy = -(t * np.log(t) + (1 - t) * np.log(1 - t)).sum() / 64
    assert least.item() == pytest.approx(entropy, abs=1e-12), "the diagonal adds nothing"


def test_no_gradient_flows_into_the_features_of_the_predicted_matrix() -> None:
    z = torch.randn(1, 3, 4, requires_grad=True)
    p = torch.randn(1, 3, 4, requires_grad=True)
    predicted_tsm(z, p).square().sum().backward()
    assert z.grad is None
    assert p.grad is not None and p.grad.abs().sum() > 0


def test_loss_stays_finite_for_opposed_equal_and_zero_vectors() -> None:
    z = torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]])
    p = z.clone().requires_grad_()
    loss = similarity_loss(z, p, target_tsm(3, 16.0))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(p.grad).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_self_similarity_is_symmetric_bounded_with_ones_on_the_diagonal(dtype: type) -> None:
    features = np.random.default_rng(0).normal(size=(40, 16)).astype(dtype)
    matrix = self_similarity(features)
    assert matrix.shape == (40, 40) and matrix.dtype == np.float32
    assert np.array_equal(matrix, matrix.T)
    assert np.all(np.diag(matrix) == 1)
    assert matrix.min() >= 0 and matrix.max() <= 1
    assert matrix.min() < 0.4, "random directions must differ"


def test_self_similarity_does_not_see_the_length_of_the_vectors() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(10, 8))
    scales = 10.0 ** random.integers(-200, 200, size=(10, 1))
    assert self_similarity(features * scales) == pytest.approx(self_similarity(features), abs=1e-6)


def test_self_similarity_is_half_for_right_angles_zero_for_opposites_and_half_for_a_zero_row() -> None:
    matrix = self_similarity(np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, 0.0]]))
    assert matrix[0] == pytest.approx([1, 0.5, 0, 0.5], abs=1e-7)


def test_self_similarity_refuses_a_batch() -> None:
    with pytest.raises(SolaError, match=r"\[T, C\]"):
        self_similarity(np.zeros((1, 2, 3)))


# A direct implementation of the method for one step, from its equations alone, in float64.

SMALL = SolaConfig(
    hidden=5, kernel_sizes=(3, 1, 1), window_snippets=9, first_position=2, position_stride=2, tsm_size=3,
    predictor_hidden=4, learning_rate=1e-2, weight_decay=0.1, device="cpu",
)  # fmt: skip
CHANNELS = 6


def direct_loss(w: dict[str, torch.Tensor], windows: torch.Tensor) -> torch.Tensor:
    total = torch.zeros((), dtype=windows.dtype)
    for window in windows:
        enhanced = []
        for t in range(len(window)):
            first = w["conv_network.0.bias"].clone()
            for tap in range(3):
                if 0 <= t + tap - 1 < len(window):
                    first = first + w["conv_network.0.weight"][:, :, tap] @ window[t + tap - 1]
            second = w["conv_network.2.weight"][:, :, 0] @ first.clamp(min=0) + w["conv_network.2.bias"]
            third = w["conv_network.4.weight"][:, :, 0] @ second.clamp(min=0) + w["conv_network.4.bias"]
            enhanced.append(window[t] + torch.tanh(w["alpha"]) * third)
        z = [enhanced[t] / enhanced[t].norm() for t in (2, 4, 6)]
        p = []
        for v in z:
            middle = (w["network.0.weight"] @ v + w["network.0.bias"]).clamp(min=0)
            p.append(w["network.2.weight"] @ middle + w["network.2.bias"])
        for i in range(3):
            for j in range(3):
                cosine = z[i].detach() @ p[j] / p[j].norm()
                predicted = (1 + cosine) / 2
                wanted = 1.0 if i == j else 1 / (1 + math.exp(-16 / (i - j) ** 2))
                total = total - wanted * predicted.log() - (1 - wanted) * (1 - predicted).log()
    return total / (len(windows) * 9)


def direct_adamw(weight: torch.Tensor, gradients: list[torch.Tensor], config: SolaConfig) -> torch.Tensor:
    """Loshchilov and Hutter, ICLR 2019, algorithm 2, with betas 0.9 and 0.999 and epsilon 1e-8."""
    m = v = torch.zeros_like(weight)
    for step, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        update = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        weight = weight - config.learning_rate * (update + config.weight_decay * weight)
    return weight


def whole_batch(windows: torch.Tensor) -> WindowBatch:
    """Return rows 1 to 7, on which the positions 2, 4, 6 depend with kernel 3."""
    count = len(windows)
    return WindowBatch(windows[:, 1:8], torch.zeros(count, dtype=torch.int64), torch.full((count,), 9))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_loss_gradient_and_optimizer_steps_equal_the_equations(dtype: torch.dtype, tolerance: float) -> None:
    windows = torch.randn(4, 9, CHANNELS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    fit_state = new_fit_state(CHANNELS, SMALL)
    with torch.no_grad():
        fit_state.module.alpha.fill_(0.7)  # at 0 the convolutions have no gradient
    fit_state.module.to(dtype)
    fit_state.predictor.to(dtype)
    parameters = dict(fit_state.module.named_parameters()) | dict(fit_state.predictor.named_parameters())
    start = {name: p.detach().double().clone() for name, p in parameters.items()}

    weights = {name: p.clone().requires_grad_() for name, p in start.items()}
    expected = direct_loss(weights, windows)
    expected.backward()
    loss, _ = batch_loss(fit_state, whole_batch(windows.to(dtype)))
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=tolerance)
    for name, parameter in parameters.items():
        assert parameter.grad.double().numpy() == pytest.approx(weights[name].grad.numpy(), abs=tolerance), name
        assert weights[name].grad.abs().sum() > 0, f"{name} does not take part"

    train_step(fit_state, whole_batch(windows.to(dtype)), step=1)
    one = {name: direct_adamw(start[name], [weights[name].grad], SMALL) for name in start}
    for name, parameter in parameters.items():
        assert parameter.detach().double().numpy() == pytest.approx(one[name].numpy(), abs=tolerance), name

    again = {name: p.clone().requires_grad_() for name, p in one.items()}
    direct_loss(again, windows).backward()
    train_step(fit_state, whole_batch(windows.to(dtype)), step=2)
    for name, parameter in parameters.items():
        two = direct_adamw(start[name], [weights[name].grad, again[name].grad], SMALL)
        # In float32 a second step divides by moments of a rounded gradient.
        assert parameter.detach().double().numpy() == pytest.approx(two.numpy(), abs=tolerance * 10), name


def test_gradient_equals_finite_differences_through_the_predictor_alone() -> None:
    # The predictor's loss has no stop-gradient in its way, so differences of the loss are its gradient.
    windows = torch.randn(2, 9, CHANNELS, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    fit_state = new_fit_state(CHANNELS, SMALL)
    fit_state.module.double()
    fit_state.predictor.double()
    loss, _ = batch_loss(fit_state, whole_batch(windows))
    loss.backward()
    for parameter in fit_state.predictor.parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        before = flat[0].item()
        values = []
        for change in (1e-6, -1e-6):
            flat[0] = before + change
            values.append(batch_loss(fit_state, whole_batch(windows))[0].item())
        flat[0] = before
        assert gradient[0].item() == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-7)
