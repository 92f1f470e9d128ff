"""Tiny models of transformers, made from configurations with drawn weights, with their processors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SIDE, CROP, PATCH = 40, 32, 8  # of scaled frames, of what the model sees, of its patches, in pixels
FRAMES = 4
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CROPPED: dict[str, Any] = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": CROP, "width": CROP}}
SQUARE: dict[str, Any] = {"size": {"height": CROP, "width": CROP}}

# From frames [F, H, W, 3] through the processor and the model, as the model's page says: one vector.
Documented = Callable[[Any, Any, list[Any]], torch.Tensor]


@dataclass(frozen=True)
class Tiny:
    """A model, its processor, and the library's own way to features."""

    model: Any
    processor: Any
    documented: Documented

    def save(self, folder: Path) -> Path:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        return folder

    def features(self, snippets: torch.Tensor) -> torch.Tensor:
        """Return the features [B, C] of frames uint8 [B, F, H, W, 3], by the library's own way."""
        with torch.inference_mode():
            return torch.stack([self.documented(self.model, self.processor, list(s.numpy())) for s in snippets])


def frames_for(encoder: Any, batch: int = 3) -> torch.Tensor:
    """Return scaled frames, uint8 [B, F, H, W, 3], wider than high where the encoder keeps the aspect ratio."""
    height, width = encoder.spec.resized(100, 150)
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, encoder.spec.num_frames, height, width, 3), generator=generator).byte()


def cropped(encoder: Any, frames: torch.Tensor) -> torch.Tensor:
    """Return the frames as the encoder takes them."""
    top, left, side = encoder.spec.crop_box(*frames.shape[2:4])
    return frames[:, :, top : top + side, left : left + side]


def _video(pool: Callable[[Any], torch.Tensor]) -> Documented:
    return lambda model, processor, frames: pool(model(**processor(frames, return_tensors="pt")))[0]


def _pictures(pool: Callable[[Any], torch.Tensor]) -> Documented:
    return lambda model, processor, frames: pool(model(**processor(images=frames, return_tensors="pt"))).mean(0)


def _embedded(model: Any, processor: Any, frames: list[Any]) -> torch.Tensor:
    return model.get_image_features(**processor(images=frames, return_tensors="pt")).pooler_output.mean(0)


def _mean(output: Any) -> torch.Tensor:
    return output.last_hidden_state.mean(1)


def _cls(output: Any) -> torch.Tensor:
    return output.last_hidden_state[:, 0]


def tiny(kind: str) -> Tiny:
    """Return a tiny model of a type, the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = MAKERS[kind]()
        for parameter in made.model.parameters():  # the library draws weights so small that errors would not show
            torch.nn.init.normal_(parameter, std=0.3)
    made.model.eval()
    return made


def _videomae() -> Tiny:
    import transformers as hf

    config = hf.VideoMAEConfig(image_size=CROP, patch_size=PATCH, num_frames=FRAMES, **SIZES)
    return Tiny(hf.VideoMAEModel(config), hf.VideoMAEImageProcessor(**CROPPED), _video(_mean))


def _vjepa2() -> Tiny:
    import transformers as hf

    config = hf.VJEPA2Config(
        patch_size=PATCH,
        crop_size=CROP,
        frames_per_clip=FRAMES,
        hidden_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
    )

    def documented(model: Any, processor: Any, frames: list[Any]) -> torch.Tensor:
        return model.get_vision_features(**processor(frames, return_tensors="pt")).mean(1)[0]

    return Tiny(hf.VJEPA2Model(config), hf.VJEPA2VideoProcessor(crop_size=CROP), documented)


def _timesformer() -> Tiny:
    import transformers as hf

    config = hf.TimesformerConfig(image_size=CROP, patch_size=PATCH, num_frames=FRAMES, **SIZES)
    processor = hf.VideoMAEImageProcessor(**CROPPED, image_mean=[0.45] * 3, image_std=[0.225] * 3)
    return Tiny(hf.TimesformerModel(config), processor, _video(_cls))


def _vivit() -> Tiny:
    import transformers as hf

    config = hf.VivitConfig(image_size=CROP, num_frames=FRAMES, tubelet_size=[2, PATCH, PATCH], **SIZES)
    return Tiny(hf.VivitModel(config), hf.VivitImageProcessor(**CROPPED), _video(_cls))


def _xclip() -> Tiny:
    import transformers as hf

    config = hf.XCLIPConfig(
        text_config={"vocab_size": 64, "max_position_embeddings": 16, **SIZES},
        vision_config={
            "image_size": CROP,
            "patch_size": PATCH,
            "num_frames": FRAMES,
            "mit_hidden_size": 12,
            "mit_intermediate_size": 24,
            "mit_num_attention_heads": 2,
            "drop_path_rate": 0.0,
            **SIZES,
        },
        projection_dim=12,
        prompt_num_attention_heads=2,
    )

    def documented(model: Any, processor: Any, frames: list[Any]) -> torch.Tensor:
        return model.get_video_features(**processor(frames, return_tensors="pt")).pooler_output[0]

    return Tiny(hf.XCLIPModel(config), hf.VideoMAEImageProcessor(**CROPPED), documented)


def _clip() -> Tiny:
    import transformers as hf

    config = hf.CLIPConfig(
        text_config={"vocab_size": 64, "max_position_embeddings": 16, "eos_token_id": 1, **SIZES},
        vision_config={"image_size": CROP, "patch_size": PATCH, **SIZES},
        projection_dim=12,
    )
    return Tiny(hf.CLIPModel(config), hf.CLIPImageProcessor(**CROPPED), _embedded)


def _siglip() -> Tiny:
    import transformers as hf

    config = hf.SiglipConfig(
        text_config={"vocab_size": 64, "max_position_embeddings": 16, **SIZES},
        vision_config={"image_size": CROP, "patch_size": PATCH, **SIZES},
    )
    return Tiny(hf.SiglipModel(config), hf.SiglipImageProcessor(**SQUARE), _embedded)


def _dinov2() -> Tiny:
    import transformers as hf

    sizes = {name: value for name, value in SIZES.items() if name != "intermediate_size"}
    config = hf.Dinov2Config(image_size=64, patch_size=PATCH, **sizes)  # pictures of another size are usual
    return Tiny(hf.Dinov2Model(config), hf.BitImageProcessor(**CROPPED), _pictures(_cls))


def _dinov3() -> Tiny:
    import transformers as hf

    config = hf.DINOv3ViTConfig(image_size=CROP, patch_size=PATCH, num_register_tokens=2, **SIZES)
    # The name in transformers 5.0 had Fast at its end.
    made = getattr(hf, "DINOv3ViTImageProcessor", None) or hf.DINOv3ViTImageProcessorFast
    return Tiny(hf.DINOv3ViTModel(config), made(**SQUARE), _pictures(_cls))


MAKERS: dict[str, Callable[[], Tiny]] = {
    "videomae": _videomae,
    "vjepa2": _vjepa2,
    "timesformer": _timesformer,
    "vivit": _vivit,
    "xclip": _xclip,
    "clip": _clip,
    "siglip": _siglip,
    "dinov2": _dinov2,
    "dinov3_vit": _dinov3,
}


def add_tokenizer(folder: Path) -> Path:
    """Write a tokenizer of whole words into the folder of the tiny CLIP, which ends a text at token 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = ("a", "square", "falls", "noise", "video", "in", "which", "nothing", "happens")
    words = ["<pad>", "<end>", "<unk>", *known]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "<end>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder
