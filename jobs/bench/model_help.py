"""Help of the options of `passtream bench model`, for both of its command lines; no imports."""

DEFAULT_CASES = "windows,mix,timestamps,long"
HELP = {
    "arch": "PaSST archs to run, separated by commas.",
    "device": "Device to run on: cpu or cuda.",
    "against": "Reference package to time as well: hear21passt.",
    "cases": "Cases to run, of windows, mix, timestamps, long, memory and kernels.",
    "precisions": "Precisions of the case windows; default: fp32, bf16 and int8 on a CPU, all but "
    "int8 on a GPU.",
    "lengths": "Lengths of windows in seconds; default: the longest that the arch takes.",
    "repeats": "Number of measured rounds of each case.",
    "sounds": "16-bit WAV files on which fidelity is measured, in addition to noise.",
    "json": "Print JSON instead of the table: one object per line, as soon as it is measured.",
}
