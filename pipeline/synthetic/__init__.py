"""Small untrimmed videos with procedural actions at exactly known times: nothing to download, nothing to label.

Every video pans over a dull, textured background. Now and then it shows one of four actions, which differ in
motion and in appearance: a bar rotates, a ring expands, a square bounces, stripes drift. Strong colors occur in
actions only, so the pixels of every frame tell its true label.
"""

from pipeline.synthetic.dataset import make_synthetic_dataset
from pipeline.synthetic.plan import SyntheticSettings

__all__ = ["SyntheticSettings", "make_synthetic_dataset"]
