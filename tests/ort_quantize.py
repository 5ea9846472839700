#!/usr/bin/python3
"""ONNX Runtime's own quantization tool, for comparison (tools/bench_accuracy runs this).

  ort_quantize.py quantize MODEL INPUTS.npy OUT.onnx --method MinMax|Entropy|Percentile [--per-channel]
  ort_quantize.py eval MODEL INPUTS.npy LOGITS.npy

INPUTS.npy: preprocessed samples of the model's first input, samples first. Prints one JSON object.
Needs Debian 13's python3-onnxruntime and python3-onnx.
"""
import argparse
import json
import os
import resource
import tempfile
import time
from importlib.util import find_spec

if not all(map(find_spec, ["numpy", "onnx", "onnxruntime"])):
    raise SystemExit("ort_quantize: install Debian 13's python3-onnxruntime and python3-onnx")
import numpy as np

# The two packages register the same schemas and say so, once for each; onnx has to come first.
with open(os.devnull, "w") as devnull:
    stderr = os.dup(2)
    os.dup2(devnull.fileno(), 2)
    import onnx.reference
    import onnx.version_converter
    import onnxruntime
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    os.dup2(stderr, 2)

OPSET = 13  # per-channel QuantizeLinear


class Reader(quantization.CalibrationDataReader):
    def __init__(self, name, samples):
        self.feeds = iter({name: samples[i : i + 1]} for i in range(len(samples)))

    def get_next(self):
        return next(self.feeds, None)


def quantize(args):
    """As ONNX Runtime's documentation says: pre-processing, then quantize_static."""
    samples = np.load(args.inputs)[: args.samples]
    with tempfile.TemporaryDirectory() as folder:
        model = onnx.load(args.model)
        if model.opset_import[0].version < OPSET:
            model = onnx.version_converter.convert_version(model, OPSET)
        converted, prepared = (os.path.join(folder, f"{n}.onnx") for n in ("converted", "prepared"))
        onnx.save(model, converted)  # given a model in memory, quant_pre_process fails
        quant_pre_process(converted, prepared, skip_symbolic_shape=True)
        name = onnxruntime.InferenceSession(prepared).get_inputs()[0].name

        def run(extra_options):
            quantization.quantize_static(
                prepared,
                args.output,
                Reader(name, samples),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=args.per_channel,
                calibrate_method=quantization.CalibrationMethod[args.method],
                extra_options=extra_options,
            )

        start = time.monotonic()
        try:
            run({})
        except ValueError:  # its guard against int32 overflow fails on some biases
            run({"QDQDisableWeightAdjustForInt32Bias": True})
        seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak, "samples": len(samples)}


def evaluate(args):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(args.model, options)
    meta = session.get_inputs()[0]
    samples = np.load(args.inputs)
    outputs = [
        session.run(None, {meta.name: samples[i : i + 1]})[0].reshape(-1) for i in range(len(samples))
    ]
    np.save(args.output, np.stack(outputs))
    return {"samples": len(outputs)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["quantize", "eval"])
    parser.add_argument("model")
    parser.add_argument("inputs")
    parser.add_argument("output")
    parser.add_argument("--method", default="MinMax")
    parser.add_argument("--per-channel", action="store_true")
    parser.add_argument("--samples", type=int, default=100)
    args = parser.parse_args()
    print(json.dumps(quantize(args) if args.verb == "quantize" else evaluate(args)))


main()
