"""Caffe networks for deployment, generated: the structure of public ones, other text."""


def network(shape, layers):
    """A prototxt of layers `(name, type, bottom, params)`; the bottom of "" is the layer before."""
    dims = " ".join(f"dim: {size}" for size in (1, *shape))
    text = f'name: "net"\ninput: "data"\ninput_shape {{ {dims} }}\n'
    last = "data"
    for name, kind, bottom, own in layers:
        bottoms = bottom.split() or [last]
        last = bottoms[0] if kind in ("ReLU", "Dropout", "Scale", "BatchNorm") else name
        bottoms = " ".join(f'bottom: "{blob}"' for blob in bottoms)
        text += f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{last}"\n  {own} }}\n'
    return text


def conv(name, n, kernel, bottom="", **more):
    words = " ".join(f"{key}: {value}" for key, value in {"num_output": n, "kernel_size": kernel, **more}.items())
    return name, "Convolution", bottom, f"convolution_param {{ {words} }}"


def pool(name, kernel, stride=2, kind="MAX", bottom="", **more):
    words = " ".join(f"{key}: {value}" for key, value in more.items())
    return name, "Pooling", bottom, f"pooling_param {{ pool: {kind} kernel_size: {kernel} stride: {stride} {words} }}"


def relu(name):
    return f"relu_{name}", "ReLU", "", ""


def fc(name, n):
    return name, "InnerProduct", "", f"inner_product_param {{ num_output: {n} }}"


def drop(name, ratio=0.5):
    return f"drop_{name}", "Dropout", "", f"dropout_param {{ dropout_ratio: {ratio} }}"


def active(*layers):
    return [own for layer in layers for own in (layer, relu(layer[0]))]


PROB = ("prob", "Softmax", "", "")
GLOBAL = ("pool_last", "Pooling", "", "pooling_param { pool: AVE global_pooling: true }")
LRN = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"


def caffenet():
    text = [*active(conv("conv1", 96, 11, stride=4)), pool("pool1", 3), ("norm1", "LRN", "", LRN)]
    text += [*active(conv("conv2", 256, 5, pad=2, group=2)), pool("pool2", 3), ("norm2", "LRN", "", LRN)]
    text += active(conv("conv3", 384, 3, pad=1), conv("conv4", 384, 3, pad=1, group=2))
    text += [*active(conv("conv5", 256, 3, pad=1, group=2)), pool("pool5", 3)]
    text += [*active(fc("fc6", 4096)), drop("6"), *active(fc("fc7", 4096)), drop("7"), fc("fc8", 1000), PROB]
    return network((3, 227, 227), text)


def lenet():
    text = [conv("conv1", 20, 5), pool("pool1", 2), conv("conv2", 50, 5), pool("pool2", 2)]
    return network((1, 28, 28), [*text, fc("ip1", 500), ("relu1", "ReLU", "", ""), fc("ip2", 10), PROB])


def vgg16():
    text = []
    for i, (n, depth) in enumerate(zip((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), strict=True), 1):
        text += active(*(conv(f"conv{i}_{j}", n, 3, pad=1) for j in range(1, depth + 1)))
        text += [pool(f"pool{i}", 2)]
    text += [*active(fc("fc6", 4096)), drop("6"), *active(fc("fc7", 4096)), drop("7"), fc("fc8", 1000), PROB]
    return network((3, 224, 224), text)


def nin():
    text = []
    for i, (n, kernel, more) in enumerate(
        [(96, 11, {"stride": 4}), (256, 5, {"pad": 2}), (384, 3, {"pad": 1}), (1024, 3, {"pad": 1})], 1
    ):
        last = 1000 if i == 4 else n
        text += active(conv(f"conv{i}", n, kernel, **more), conv(f"cccp{i}a", n, 1), conv(f"cccp{i}b", last, 1))
        text += [pool(f"pool{i}", 3)] * (i < 4) + [drop("7")] * (i == 3)
    return network((3, 224, 224), [*text, GLOBAL, PROB])


def squeezenet(version="1.0"):
    def fire(i, squeeze, expand):
        name = f"fire{i}"
        yield from active(conv(f"{name}/squeeze1x1", squeeze, 1))
        yield from active(conv(f"{name}/expand1x1", expand, 1, f"{name}/squeeze1x1"))
        yield from active(conv(f"{name}/expand3x3", expand, 3, f"{name}/squeeze1x1", pad=1))
        yield f"{name}/concat", "Concat", f"{name}/expand1x1 {name}/expand3x3", ""

    first, pools = (
        (conv("conv1", 96, 7, stride=2), (1, 4, 8)) if version == "1.0" else (conv("conv1", 64, 3, stride=2), (1, 3, 5))
    )
    text = [*active(first), pool("pool1", 3)]
    for i in range(2, 10):
        text += fire(i, 16 * (i // 2), 64 * (i // 2))
        text += [pool(f"pool{i}", 3)] * (i in pools)
    text += [drop("9"), *active(conv("conv10", 1000, 1)), GLOBAL, PROB]
    return network((3, 227, 227), text)


def resnet50():
    def unit(name, n, kernel, act=True, bottom="", **more):
        norm = "batch_norm_param { use_global_stats: true }"
        yield conv(name, n, kernel, bottom, bias_term="false", **more)
        yield f"bn_{name}", "BatchNorm", "", norm
        yield f"scale_{name}", "Scale", "", "scale_param { bias_term: true }"
        if act:
            yield relu(name)

    text = [*unit("conv1", 64, 7, stride=2, pad=3), pool("pool1", 3)]
    last = "pool1"
    for i, depth in enumerate((3, 4, 6, 3)):
        for j in range(depth):
            n, name, stride = 64 * 2**i, f"res{i + 2}{'abcdef'[j]}", 2 if i and not j else 1
            skip = last
            if not j:
                text += unit(f"{name}_branch1", 4 * n, 1, False, last, stride=stride)
                skip = f"{name}_branch1"
            text += unit(f"{name}_branch2a", n, 1, True, last, stride=stride)
            text += unit(f"{name}_branch2b", n, 3, pad=1)
            text += unit(f"{name}_branch2c", 4 * n, 1, False)
            text += [(name, "Eltwise", f"{skip} {name}_branch2c", ""), relu(name)]
            last = name
    return network((3, 224, 224), [*text, pool("pool5", 7, 1, "AVE"), fc("fc1000", 1000), PROB])


def googlenet_head(n=2):
    """The stem of GoogLeNet and n of its inception modules."""
    text = [
        *active(conv("conv1/7x7_s2", 64, 7, pad=3, stride=2)),
        pool("pool1/3x3_s2", 3),
        ("pool1/norm1", "LRN", "", LRN),
    ]
    text += active(conv("conv2/reduce", 64, 1), conv("conv2/3x3", 192, 3, pad=1))
    text += [("conv2/norm2", "LRN", "", LRN), pool("pool2/3x3_s2", 3)]
    last = "pool2/3x3_s2"
    for name, widths in list({"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64)}.items())[:n]:
        one, reduce3, three, reduce5, five, pooled = widths
        text += active(conv(f"{name}/1x1", one, 1, last))
        text += active(conv(f"{name}/3x3_reduce", reduce3, 1, last), conv(f"{name}/3x3", three, 3, pad=1))
        text += active(conv(f"{name}/5x5_reduce", reduce5, 1, last), conv(f"{name}/5x5", five, 5, pad=2))
        text += [pool(f"{name}/pool", 3, 1, bottom=last, pad=1), *active(conv(f"{name}/pool_proj", pooled, 1))]
        text += [(f"{name}/output", "Concat", f"{name}/1x1 {name}/3x3 {name}/5x5 {name}/pool_proj", "")]
        last = f"{name}/output"
    return network((3, 224, 224), text)
