"""The options of `passtream bench model`, for both of its command lines; imports nothing."""

DEFAULT_CASES = "windows,mix,timestamps,long"
HELP = {
    "arch": "The PaSSTs to run, with commas between.",
    "device": "cpu or cuda.",
    "against": "Race this package as well: hear21passt.",
    "cases": "Which of windows, mix, timestamps, long, memory and kernels.",
    "precisions": "Of windows; none: fp32, bf16 and int8 on a CPU, all but int8 on a GPU.",
    "lengths": "Of windows, in seconds; none: the longest that the arch takes.",
    "repeats": "Measured rounds of each case.",
    "sounds": "WAV files of 16 bits that fidelity is measured on, beside noise.",
    "json": "JSON in place of the table: an object a line, each as soon as it is measured.",
}
