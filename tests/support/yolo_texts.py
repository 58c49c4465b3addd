"""Models in the form `[from, repeats, module, args]`, written for these tests."""


def model(backbone, head, **keys):
    """A text of rows `(from, repeats, module, args)`."""
    text = "".join(f"{key}: {value}\n" for key, value in keys.items())
    for name, rows in (("backbone", backbone), ("head", head)):
        text += f"{name}:\n" + "".join(f"  - [{i}, {n}, {module}, {args}]\n" for i, n, module, args in rows)
    return text


SCALES = "{n: [0.33, 0.25, 1024], s: [0.33, 0.50, 1024]}"
UP = (-1, 1, "nn.Upsample", '[None, 2, "nearest"]')


def pyramid(block, pooled="SPPF", anchors="[[10, 13, 16, 30, 33, 23]]", **keys):
    """Five halvings, a way up and a way down; the structure of YOLOv5 6.0 with its blocks."""
    backbone = [(-1, 1, "Conv", [64, 6, 2, 2])]
    for n, depth in ((128, 3), (256, 6), (512, 9), (1024, 3)):
        backbone += [(-1, 1, "Conv", [n, 3, 2]), (-1, depth, block, [n])]
    backbone += [(-1, 1, pooled, [1024, 5] if pooled == "SPPF" else [1024, [5, 9, 13]])]
    head = [(-1, 1, "Conv", [512, 1, 1]), UP, ([-1, 6], 1, "Concat", [1]), (-1, 3, block, "[512, False]")]
    head += [(-1, 1, "Conv", [256, 1, 1]), UP, ([-1, 4], 1, "Concat", [1]), (-1, 3, block, "[256, False]")]
    head += [(-1, 1, "Conv", [256, 3, 2]), ([-1, 14], 1, "Concat", [1]), (-1, 3, block, "[512, False]")]
    head += [(-1, 1, "Conv", [512, 3, 2]), ([-1, 10], 1, "Concat", [1]), (-1, 3, block, "[1024, False]")]
    detect = "[nc, anchors]" if anchors else "[nc]"
    head += [([17, 20, 23], 1, "Detect", detect)]
    return model(backbone, head, nc=80, **({"anchors": anchors} if anchors else {}), **keys)


def small(head="Detect", args="[nc]", rows=(), **keys):
    """Two levels of 16 and 32 channels, then rows, then a head."""
    backbone = [(-1, 1, "Conv", [16, 3, 2]), (-1, 1, "Conv", [32, 3, 2]), *rows]
    return model(backbone, [([len(backbone) - 1], 1, head, args)] if head else [], nc=4, **keys)
