"""Files of random operators, which no converter would write."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from file_graph import Graph

from keras_share.tflite.file import flatbuffer

WIDTH = 4
ACTIVATIONS = ("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")


class File:
    """Draws a file step by step.

    Args:
        seed: Of all choices.
    """

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.subgraphs, self.model.operatorCodes = [], []
        self.model.buffers, self.model.signatureDefs = [schema.BufferT()], []
        self.kind = self.pick("float32", "float32", "float16", "dynamic", "int8")
        self.dtype = "int8" if self.kind == "int8" else "float32"
        self.scales = [0.05, 0.07][: self.pick(1, 1, 2)]
        self.image = self.kind == "float32" and self.pick(False, False, True)
        self.open = (
            self.kind == "float32" and not self.image and self.pick(*[False] * 3, True)
        )
        self.kernels = [self.new_kernel() for _ in range(self.pick(1, 2, 3))]
        self.shared = [self.numbers(WIDTH) for _ in range(2)]
        self.callee = None

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def chance(self, share):
        return bool(self.rng.random() < share)

    def numbers(self, *shape):
        if self.kind == "int8":
            return self.rng.integers(-90, 90, shape).astype("int8")
        return self.rng.normal(size=shape).astype("float32")

    def new_kernel(self):
        shape = (WIDTH, 1, 1, WIDTH) if self.image else (WIDTH, WIDTH)
        if self.kind in ("dynamic", "int8"):
            many = self.kind == "dynamic" and self.pick(True, False)
            scale = np.full(WIDTH if many else 1, 0.01) * self.pick(1, 2)
            return self.rng.integers(-127, 128, shape).astype("int8"), scale
        dtype = "float16" if self.kind == "float16" else "float32"
        return self.numbers(*shape).astype(dtype) * dtype_of(dtype)(0.5), None

    def buffer(self, value):
        self.model.buffers.append(
            schema.BufferT(np.frombuffer(value.tobytes(), np.uint8))
        )
        return len(self.model.buffers) - 1

    def code(self, name):
        number = getattr(schema.BuiltinOperator, name)
        for i, code in enumerate(self.model.operatorCodes):
            if code.builtinCode == number:
                return i
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def bytes(self):
        sites = [self.recipe() for _ in range(self.pick(1, 2, 3))]
        if self.chance(0.3):
            self.callee = self.draw("callee", sites[:1], 1)
        for name in self.pick(["one"], ["one"], ["one", "two"]):
            self.draw(name, sites, int(self.rng.integers(2, 7)))
        # The first subgraph is the one that runs where there are no signatures.
        if self.callee is None and self.chance(0.2):
            self.model.signatureDefs = []
            del self.model.subgraphs[1:]
        return flatbuffer.pack(self.model)

    def draw(self, name, sites, count):
        """A subgraph of sites in any order, with residuals, odd ends and dead ends."""
        graph = Graph(self, name)
        shape = (1, 2, 2, WIDTH) if self.image else (1 if self.open else 2, WIDTH)
        scale = self.scales[0] if self.kind == "int8" else None
        x = first = graph.tensor(shape, self.dtype, scale)
        seen = [x]
        for _ in range(count):
            for step, *choices in self.pick(*sites):
                if self.chance(0.03):
                    continue
                drawn = step.draw(self) if self.chance(0.03) else choices
                x = step.apply(self, graph, x, seen, *drawn)
                seen.append(x)
        outputs = [x]
        if name != "callee":
            outputs += [self.pick(*seen) for _ in range(self.pick(0, 0, 1, 2))]
            if self.chance(0.1):
                outputs.append(
                    graph.tensor((WIDTH,), value=self.rng.normal(size=WIDTH))
                )
        outputs = list(dict.fromkeys(outputs))
        graph.ends([first], outputs)
        if name != "callee":
            signature = schema.SignatureDefT()
            signature.signatureKey, signature.subgraphIndex = (
                name.encode(),
                graph.number,
            )
            signature.inputs = [end("x", first)]
            signature.outputs = [end(f"y{i}", y) for i, y in enumerate(outputs)]
            self.model.signatureDefs.append(signature)
        return graph.number

    def recipe(self):
        """The steps of a site, with what is drawn once for all of them."""
        known = [s for s in STEPS if self.kind != "int8" or s in (Product, Sum)]
        known = [s for s in known if not self.image or s is not Parts]
        steps = [Product, *(self.pick(*known) for _ in range(self.pick(0, 1, 2, 4)))]
        self.rng.shuffle(steps)
        return [(step, *step.draw(self)) for step in steps]


def dtype_of(name):
    return np.dtype(name).type


def end(name, tensor):
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), tensor
    return made


class Product:
    """A dense layer or convolution by one of the file's kernels."""

    @staticmethod
    def draw(file):
        bias = file.pick("none", "same", "private", "either")
        return int(file.rng.integers(len(file.kernels))), bias, file.pick(*ACTIVATIONS)

    @staticmethod
    def apply(file, graph, x, seen, kernel, bias, activation):
        value, scale = file.kernels[kernel]
        dtype = value.dtype.name
        weights = graph.tensor(value.shape, dtype, scale, value)
        if dtype == "float16":
            real = graph.tensor(value.shape)
            [weights] = graph.op("DEQUANTIZE", [weights], [real], "DequantizeOptions")
        if bias == "either":
            bias = file.pick("none", "private")
        inputs = [x, weights]
        if bias == "none" and not file.image:  # a convolution must have one
            inputs += file.pick([], [-1])
        else:
            numbers = file.shared[0] if bias == "same" else file.numbers(WIDTH)
            if file.kind == "int8":
                source = graph.graph.tensors[x].quantization.scale[0]
                total = np.float32(source) * np.float32(scale[0])
                inputs.append(graph.tensor((WIDTH,), "int32", total, numbers))
            else:
                inputs.append(graph.tensor((WIDTH,), value=numbers))
        y = graph.like(x)
        activation = getattr(schema.ActivationFunctionType, activation)
        if file.image:
            options = {"strideH": 1, "strideW": 1}
            return graph.op(
                "CONV_2D",
                inputs,
                [y],
                "Conv2DOptions",
                fusedActivationFunction=activation,
                **options,
            )[0]
        return graph.op(
            "FULLY_CONNECTED",
            inputs,
            [y],
            "FullyConnectedOptions",
            fusedActivationFunction=activation,
        )[0]


class Sum:
    """An addition or multiplication by a constant, or by what came before."""

    @staticmethod
    def draw(file):
        what = file.pick("shared", "private", "residual", "residual", "far")
        return file.pick("ADD", "MUL", "SUB"), what, int(file.rng.integers(1, 6))

    @staticmethod
    def apply(file, graph, x, seen, name, what, distance):
        if what == "residual":
            other = seen[-min(distance, len(seen))]
        elif what == "far":
            other = file.pick(*seen)
        else:
            value = file.shared[1] if what == "shared" else file.numbers(WIDTH)
            scale = file.scales[0] if file.kind == "int8" else None
            other = graph.tensor((WIDTH,), file.dtype, scale, value)
        operands = [x, other] if distance % 2 else [other, x]
        return graph.op(name, operands, [graph.like(x)], f"{name.capitalize()}Options")[
            0
        ]


class Scale:
    """A private scale and offset as TensorFlow's converter writes them."""

    @staticmethod
    def draw(file):
        return (file.pick("RELU", "NONE"), file.chance(0.5))

    @staticmethod
    def apply(file, graph, x, seen, activation, private):
        if not file.image:
            return Unary.apply(file, graph, x, seen, "TANH")
        value = file.numbers(WIDTH) if private else file.shared[0]
        kernel = graph.tensor((1, 1, 1, WIDTH), value=value.reshape(1, 1, 1, WIDTH))
        offset = graph.tensor((WIDTH,), value=file.numbers(WIDTH))
        return graph.op(
            "DEPTHWISE_CONV_2D",
            [x, kernel, offset],
            [graph.like(x)],
            "DepthwiseConv2DOptions",
            strideH=1,
            strideW=1,
            depthMultiplier=1,
            fusedActivationFunction=getattr(schema.ActivationFunctionType, activation),
        )[0]


class Unary:
    """An operator without constants."""

    @staticmethod
    def draw(file):
        return (file.pick("TANH", "LOGISTIC", "RELU", "NEG"),)

    @staticmethod
    def apply(file, graph, x, seen, name):
        return graph.op(name, [x], [graph.like(x)])[0]


class Parts:
    """An operator of several outputs, some of them unused, and one that joins them."""

    @staticmethod
    def draw(file):
        return file.pick(0, 1), file.pick("both", "swapped", "first")

    @staticmethod
    def apply(file, graph, x, seen, either, order):
        rows = graph.shape(x)[0]
        axis = graph.tensor((), "int32", value=1)
        halves = [graph.tensor((rows, WIDTH // 2)) for _ in range(2)]
        graph.op("SPLIT", [axis, x], halves, "SplitOptions", numSplits=2)
        order = {"both": [0, 1], "swapped": [1, 0], "first": [0, 0]}[order]
        if either:
            empty = graph.tensor((rows, 0), value=np.zeros((rows, 0)))
            parts = [*(halves[i] for i in order), empty]
        else:
            parts = [halves[i] for i in order]
        if file.open:
            parts = parts[:2]
        return graph.op(
            "CONCATENATION", parts, [graph.like(x)], "ConcatenationOptions", axis=1
        )[0]


class Dead:
    """A product that nothing reads."""

    @staticmethod
    def draw(file):
        return Product.draw(file)

    @staticmethod
    def apply(file, graph, x, seen, *choices):
        Product.apply(file, graph, x, seen, *choices)
        return x


class Call:
    """A branch whose subgraph uses the kernels, too."""

    @staticmethod
    def draw(file):
        return (file.pick(True, False),)

    @staticmethod
    def apply(file, graph, x, seen, condition):
        if file.callee is None:
            return Unary.apply(file, graph, x, seen, "TANH")
        condition = graph.tensor((), "bool", value=condition)
        branches = {"thenSubgraphIndex": file.callee, "elseSubgraphIndex": file.callee}
        return graph.op("IF", [condition, x], [graph.like(x)], "IfOptions", **branches)[
            0
        ]


STEPS = (Product, Product, Sum, Sum, Scale, Unary, Parts, Dead, Call)
