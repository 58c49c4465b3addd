"""Darknet configurations of public networks, written anew from tables: same structure, other text."""


def section(kind, **options):
    return f"[{kind}]\n" + "".join(f"{name}={value}\n" for name, value in options.items()) + "\n"


def net(size=416, width=None):
    return section("net", batch=1, height=size, width=width or size, channels=3, learning_rate="0.001")


def conv(filters, size=1, stride=1, act="leaky", bn=1, **more):
    bn = {"batch_normalize": 1} if bn else {}
    return section("convolutional", **bn, filters=filters, size=size, stride=stride, pad=1, activation=act, **more)


def pool(size=2, stride=2, **more):
    return section("maxpool", size=size, stride=stride, **more)


def route(*layers, **more):
    return section("route", layers=", ".join(map(str, layers)), **more)


def add(at=-3, act="linear"):
    return section("shortcut", **{"from": at}, activation=act)


def up(stride=2):
    return section("upsample", stride=stride)


def head(filters=255, kind="yolo"):
    return conv(filters, act="linear", bn=0) + section(kind, classes=80, num=9, mask="0,1,2")


def connected(n, act="leaky"):
    return section("connected", output=n, activation=act)


def dropout(p=0.5):
    return section("dropout", probability=p)


AVG, SOFTMAX, COST = section("avgpool"), section("softmax", groups=1), section("cost", type="sse")


def darknet53(act="leaky"):
    text = conv(32, 3, act=act)
    for n, depth in zip((64, 128, 256, 512, 1024), (1, 2, 8, 8, 4), strict=True):
        text += conv(n, 3, 2, act=act) + depth * (conv(n // 2, act=act) + conv(n, 3, act=act) + add())
    return text


def yolov3(size=416, spp=False):
    def five(n):
        return conv(n) + conv(2 * n, 3) + conv(n)

    text = net(size) + darknet53() + five(512)
    if spp:
        text += pool(5, 1) + route(-2) + pool(9, 1) + route(-4) + pool(13, 1) + route(-1, -3, -5, -6) + conv(512)
    text += conv(1024, 3) + conv(512) + conv(1024, 3) + head()
    for n, skip in ((256, 61), (128, 36)):
        text += route(-4) + conv(n) + up() + route(-1, skip) + five(n) + conv(2 * n, 3) + conv(n) + conv(2 * n, 3)
        text += head()
    return text


def units(*rows):
    """`64` or `(64, 1)` is a convolution, `"p"` a pool."""
    return "".join(pool() if row == "p" else conv(*(row if isinstance(row, tuple) else (row, 3))) for row in rows)


def yolov3_tiny():
    text = net() + units(16, "p", 32, "p", 64, "p", 128, "p", 256, "p", 512) + pool(2, 1) + units(1024, (256, 1), 512)
    return text + head() + route(-4) + conv(128) + up() + route(-1, 8) + conv(256, 3) + head()


EARLY = (32, "p", 64, "p", 128, (64, 1), 128, "p", 256, (128, 1), 256, "p", 512, (256, 1), 512, (256, 1), 512)
LATE = ("p", 1024, (512, 1), 1024, (512, 1), 1024)


def yolov2(size=608):
    text = net(size) + units(*EARLY, *LATE, 1024, 1024) + route(-9) + conv(64) + section("reorg", stride=2)
    return text + route(-1, -4) + conv(1024, 3) + head(425, "region")


def yolov2_tiny():
    text = net() + units(16, "p", 32, "p", 64, "p", 128, "p", 256, "p", 512) + pool(2, 1) + units(1024, 512)
    return text + head(425, "region")


def yolov1_tiny():
    text = net(448) + units(16, "p", 32, "p", 64, "p", 128, "p", 256, "p", 512, "p", 1024, 256)
    return text + connected(1470, "linear") + section("detection", classes=20)


def darknet19(size=256):
    return net(size) + units(*EARLY, *LATE) + conv(1000, act="linear", bn=0) + AVG + SOFTMAX


def darknet53_classifier():
    return net(256) + darknet53() + AVG + conv(1000, act="linear", bn=0) + SOFTMAX


def reference():
    text = net(256) + units(16, "p", 32, "p", 64, "p", 128, "p", 256, "p", 512, "p", 1024)
    return text + conv(1000, act="linear", bn=0) + AVG + SOFTMAX


def alexnet():
    def plain(filters, **more):
        return section("convolutional", filters=filters, activation="relu", **more)

    third = pool(3, 2, padding=0)
    text = net(227) + plain(96, size=11, stride=4, pad=0) + third + plain(256, size=5, stride=1, pad=1) + third
    text += 2 * plain(384, size=3, pad=1) + plain(256, size=3, pad=1) + third
    return text + 2 * (connected(4096, "relu") + dropout()) + connected(1000, "linear") + SOFTMAX + COST


def vgg16():
    text = net(224)
    for n, depth in zip((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), strict=True):
        text += depth * conv(n, 3, act="relu", bn=0) + pool()
    return text + 2 * (connected(4096, "relu") + dropout()) + connected(1000, "linear") + SOFTMAX


def resnet(depths, size=256):
    text = net(size) + conv(64, 7, 2) + pool()
    for i, depth in enumerate(depths):
        for j in range(depth):
            n, stride = 64 * 2**i, 2 if i and not j else 1
            text += conv(n) + conv(n, 3, stride) + conv(4 * n, act="linear")
            text += add(-4, "leaky")
    return text + AVG + conv(1000, act="linear", bn=0) + SOFTMAX


def densenet201():
    text = net(256) + conv(64, 7, 2) + pool()
    for i, depth in enumerate((6, 12, 48, 32)):
        if i:
            text += conv(64 * 2**i) + pool()
        for _ in range(depth):
            text += conv(128) + conv(32, 3) + route(-1, -3)
    return text + conv(1000, act="linear", bn=0) + AVG + SOFTMAX


def csp(n, depth, inner=None, act="mish"):
    inner = inner or n // 2
    text = conv(n, 3, 2, act=act) + conv(inner, act=act) + route(-2) + conv(inner, act=act)
    text += depth * (conv(inner if inner < n else n // 2, act=act) + conv(inner, 3, act=act) + add())
    return text + conv(inner, act=act) + route(-1, -(3 * depth + 4)) + conv(n, act=act)


def yolov4(size=608):
    def five(n):
        return 2 * (conv(n) + conv(2 * n, 3)) + conv(n)

    text = net(size) + conv(32, 3, act="mish") + csp(64, 1, 64) + csp(128, 2) + csp(256, 8) + csp(512, 8)
    text += csp(1024, 4) + conv(512) + conv(1024, 3) + conv(512)
    text += pool(5, 1) + route(-2) + pool(9, 1) + route(-4) + pool(13, 1) + route(-1, -3, -5, -6)
    text += conv(512) + conv(1024, 3) + conv(512)
    text += conv(256) + up() + route(85) + conv(256) + route(-1, -3) + five(256)
    text += conv(128) + up() + route(54) + conv(128) + route(-1, -3) + five(128)
    text += conv(256, 3) + head()
    text += route(-4) + conv(256, 3, 2) + route(-1, -16) + five(256) + conv(512, 3) + head()
    return text + route(-4) + conv(512, 3, 2) + route(-1, -37) + five(512) + conv(1024, 3) + head()


def yolov4_tiny():
    text = net() + conv(32, 3, 2) + conv(64, 3, 2)
    for n in (64, 128, 256):
        text += conv(n, 3) + route(-1, groups=2, group_id=1) + conv(n // 2, 3) + conv(n // 2, 3) + route(-1, -2)
        text += conv(n) + route(-6, -1) + pool()
    text += conv(512, 3) + conv(256) + conv(512, 3) + head()
    return text + route(-4) + conv(128) + up() + route(-1, 23) + conv(256, 3) + head()


def extraction():
    text = section("net", height=256, width=256, channels=3)
    text += section("crop", crop_height=224, crop_width=224, noadjust=1)
    text += conv(64, 7, 2) + units("p", 192, "p", (128, 1), 256, (256, 1), 512, "p")
    text += 4 * units((256, 1), 512) + units((512, 1), 1024, "p") + 2 * units((512, 1), 1024)
    return text + conv(1000, act="leaky", bn=0) + AVG + SOFTMAX + COST
