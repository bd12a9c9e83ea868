"""Files of other tools that people hand in as models: what they are, and what to hand in instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_KERAS = "convert the model to .tflite: tf.lite.TFLiteConverter.from_keras_model(tf.keras.models.load_model(FILE)).convert()"
_TENSORFLOW = "convert it to .tflite (tf.lite.TFLiteConverter.from_saved_model(FOLDER)), or to .onnx with tf2onnx"
_ARRAYS = (
    "save the arrays under their names as .safetensors (safetensors.numpy.save_file({name: array, ...}, FILE)), and give them by "
    "--weights beside --network or --model"
)
_MADE = "give the model that it was made from, as .onnx, .tflite or .pt2"

KINDS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys((".h5", ".hdf5", ".keras"), ("a Keras model or weights", _KERAS)),
    **dict.fromkeys((".pb", ".pbtxt"), ("a TensorFlow graph", _TENSORFLOW)),
    **dict.fromkeys((".index", ".meta"), ("part of a TensorFlow checkpoint", _TENSORFLOW)),
    **dict.fromkeys((".npz", ".npy"), ("arrays of NumPy", _ARRAYS)),
    ".msgpack": ("weights of Flax", _ARRAYS),
    **dict.fromkeys((".pdparams", ".pdmodel", ".pdiparams"), ("a PaddlePaddle model", "convert it to .onnx with paddle2onnx")),
    **dict.fromkeys((".pkl", ".pickle"), ("a pickle, which could run code", _ARRAYS)),
    **dict.fromkeys((".mlmodel", ".mlpackage"), ("a Core ML model", _MADE)),
    **dict.fromkeys((".xml", ".blob"), ("an OpenVINO model", _MADE)),
    **dict.fromkeys((".param", ".ncnn"), ("an ncnn model", _MADE)),
    ".mnn": ("an MNN model", _MADE),
    ".dlc": ("a model for Qualcomm's SNPE or QNN", _MADE),
    **dict.fromkeys((".engine", ".plan", ".trt"), ("an engine of TensorRT, built for one GPU", _MADE)),
    ".hef": ("a model compiled for Hailo", _MADE),
    ".om": ("a model compiled for Ascend", _MADE),
    ".rknn": ("a model compiled for Rockchip", _MADE),
    ".gguf": ("a model of ggml", _MADE),
    ".caffemodel": ("weights of Caffe", _MADE),
    **dict.fromkeys((".zip", ".tar", ".gz", ".7z", ".rar"), ("an archive", "unpack it first")),
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"),
        ("a picture", "give pictures by --images, and enlarge one by `hwsearch upscale`"),
    ),
    ".toml": ("a device file, perhaps", "`hwsearch devices check FILE` looks at it"),
    ".json": ("a plan, perhaps", "`hwsearch explain FILE` tells what is in it"),
    ".py": ("Python code", "name the function that builds the network: --model FILE.py:build"),
}


def told(path: Path) -> tuple[str, str] | None:
    """What a file is, and what to do with it; None where its name and form tell nothing."""
    if path.is_dir():
        if path.suffix.lower() in KINDS:
            return KINDS[path.suffix.lower()]
        return ("a TensorFlow model", _TENSORFLOW) if (path / "saved_model.pb").exists() else ("a folder", "name a file in it")
    if ".data-" in path.name:
        return KINDS[".index"]
    return KINDS.get(path.suffix.lower())
