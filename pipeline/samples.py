"""The type of decoded audio; apart from `audio`, because numpy takes long to import."""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
