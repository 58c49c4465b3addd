"""Names that PyTorch, Keras, Caffe and Darknet use for our operators and arguments, for hints in error messages.

Names are compared in lower case and without underscores, so `MaxPool2d` and `max_pool2d` are equal. A spec accepts only
archcalc's own names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from archcalc.errors import suggest

OPERATORS = {
    "conv": "conv1d conv2d conv3d convolution convolution2d convolutional conv1x1 conv3x3",
    "conv_transpose": "convtranspose1d convtranspose2d convtranspose3d "
    "conv2dtranspose transposedconv deconv deconv2d deconvolution upconv",
    "linear": "dense fc fullyconnected innerproduct connected",
    "batchnorm": "bn batchnorm1d batchnorm2d batchnorm3d batchnormalization",
    "layernorm": "ln layernormalization",
    "groupnorm": "gn groupnormalization",
    "instancenorm": "in instancenorm1d instancenorm2d instancenorm3d instancenormalization",
    "channel_layernorm": "layernorm2d",
    "normalize": "l2norm l2normalize unitnormalization",
    "lrn": "localresponsenorm localresponsenormalization",
    "maxpool": "maxpool1d maxpool2d maxpool3d maxpooling2d maxpooling",
    "avgpool": "avgpool1d avgpool2d avgpool3d averagepooling2d averagepool avgpooling",
    "adaptive_avgpool": "adaptiveavgpool1d adaptiveavgpool2d adaptiveavgpool3d",
    "adaptive_maxpool": "adaptivemaxpool1d adaptivemaxpool2d adaptivemaxpool3d",
    "global_avgpool": "globalaveragepooling2d globalaveragepool globalavgpool2d gap",
    "global_maxpool": "globalmaxpooling2d globalmaxpool2d gmp",
    "upsample": "interpolate resize",
    "leaky_relu": "leaky lrelu",
    "silu": "swish",
    "prelu": "parametricrelu",
    "clamp": "clip hardtanh",
    "hardswish": "hswish",
    "hardsigmoid": "hsigmoid",
    "dropout1d": "spatialdropout1d",
    "dropout2d": "spatialdropout2d",
    "dropout3d": "spatialdropout3d",
    "channel_shuffle": "shufflechannel",
    "flatten": "squeeze",
    "identity": "skip shortcut noop",
    "add": "eltwise sum shortcutadd",
    "subtract": "sub",
    "multiply": "mul scale",
    "divide": "div",
    "maximum": "max",
    "mean": "average",
    "concat": "cat concatenate route",
    "permute": "rearrange",
    "reshape": "view unflatten",
    "tokens": "totokens",
    "chunk": "split channelsplit",
    "slice": "narrow select",
    "center_crop": "cropping2d",
    "pad": "zeropad zeropad2d zeropadding2d constantpad2d",
    "roll": "cyclicshift",
    "repeat": "tile expand",
    "pixel_shuffle": "depthtospace subpixel",
    "pixel_unshuffle": "spacetodepth reorg focus",
    "matmul": "bmm mm dot matrixproduct batchmatmul",
    "embedding": "embed wordembedding lookuptable",
    "rotary_embedding": "rope rotary rotarypositionalembeddings rotarypositionembedding",
    "attention": "scaleddotproductattention sdpa dotproductattention",
    "lstm": "lstmlayer cudnnlstm",
    "gru": "grulayer cudnngru",
    "rnn": "simplernn elmanrnn",
    "multihead_attention": "mha selfattention multiheadselfattention msa",
    "window_attention": "shiftedwindowattention wmsa swmsa swinattention",
    "cosine_window_attention": "shiftedwindowattentionv2",
    "cross_attention": "encoderdecoderattention",
}
MLP = "linear(3072) | gelu | linear(768)"
WRITTEN = {  # how to write operators that archcalc does not have
    "conv(in_channels, 3, padding=1, groups=in_channels)": "depthwise depthwiseconv depthwiseconv2d dwconv",
    "conv(in_channels, 3, padding=1, groups=in_channels) | conv(64, 1)": "separableconv separableconv2d",
    "a | b, or chain(…)": "sequential modulelist",
    "add(relu, identity)": "residual residualblock",
    "multiply(identity, parameter([64, 1, 1]))": "layerscale gamma",
    "add(identity, parameter(T=197, C=768))": "posembed positionembedding positionalembedding positionalencoding",
    "concat(parameter(T=1, C=768), identity, axis='T')": "clstoken classtoken",
    "conv(768, 16, stride=16) | tokens": "patchembed patchembedding",
    "multiply(identity, global_avgpool | conv(4, 1) | relu | conv(64, 1) | sigmoid)": "se seblock selayer semodule "
    "squeezeexcite squeezeexcitation",
    f"add(multihead_attention(8), identity) | layernorm | add({MLP}, identity) | layernorm": "transformerencoderlayer "
    "transformerblock encoderlayer",
    MLP: "mlp ffn feedforward",
    "upsample(scale_factor=2)": "upsampling upsampling1d upsampling2d upsampling3d upsamplingnearest2d",
    "upsample(scale_factor=2, mode='bilinear', align_corners=True)": "upsamplingbilinear2d",
    "pad(1, 'reflect')": "reflectionpad1d reflectionpad2d reflectionpad3d",
    "pad(1, 'replicate')": "replicationpad1d replicationpad2d replicationpad3d",
    "pad(1, 'circular')": "circularpad1d circularpad2d circularpad3d",
    "center_crop(8), crop_like(use(skip), identity), or slice(1, -1, axis='H')": "crop",
}
ARGUMENTS = {
    "out_channels": "filters numoutput outplanes outchannel channels nout",
    "out_features": "units numoutput outdim outfeature",
    "kernel_size": "kernel ksize filtersize poolsize size k window",
    "stride": "strides",
    "padding": "pad pads",
    "dilation": "dilations dilationrate",
    "groups": "group",
    "num_groups": "groups",
    "bias": "usebias biasterm",
    "eps": "epsilon",
    "p": "rate droprate dropoutratio dropprob prob",
    "negative_slope": "alpha slope",
    "size": "localsize depthradius n",
    "hidden_size": "hiddendim units numunits",
    "num_layers": "layers nlayers",
    "bidirectional": "bidir",
    "num_embeddings": "vocabsize vocabulary inputdim",
    "embedding_dim": "embeddim embeddingsize outputdim",
    "num_heads": "heads nhead nheads numattentionheads",
    "kv_heads": "numkvheads numkeyvalueheads",
    "causal": "iscausal",
    "window_size": "window",
    "shift": "shiftsize",
    "output_size": "size",
    "scale_factor": "scale",
    "upscale_factor": "blocksize factor scale",
    "downscale_factor": "blocksize factor stride",
    "axis": "dim",
    "mode": "interpolation",
    "affine": "scale center",
}
TEXTS = (
    *("same", "SAME", "causal", "valid", "nearest", "bilinear", "trilinear", "bicubic", "reflect", "replicate"),
    *("circular", "zeros", *"CTLDHW"),
)  # arguments that stand in quotes
INFERRED = (
    *("inchannels", "infeatures", "inplanes", "numfeatures", "inputdim", "inputshape", "inputsize", "nin"),
    *("embeddim", "dmodel"),
)
UNJOINED = {  # what a join with a number in place of its branches may be meant to be
    "attention": "multihead_attention(8) is attention of tokens to themselves",
    "cross_attention": "multihead_attention(8) is attention of tokens to themselves",
    "mean": "global_avgpool is the mean over all positions",
    "maximum": "global_maxpool is the maximum over all positions",
}
LEFT_OUT = {  # why there is no such argument
    "activation": "write the activation as a separate layer, e.g. conv(8, 3) | relu",
    "dim": "leave it out: it works along the channels or features",
    "axis": "leave it out: it works along the channels or features",
    "batchfirst": "leave it out: tokens are always T×C",
    "returnsequences": "leave it out: slice(-1, None, axis='T') after it is the last token",
}


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _own(name: str, table: Mapping[str, str], known: Iterable[str]) -> str:
    """Return the name in `known` that equals `name` or has it as a synonym, or ""."""
    plain = _plain(name)
    return next((own for own in known if plain == _plain(own) or plain in table.get(own, "").split()), "")


def operator_name(name: str, known: Iterable[str]) -> str:
    """Return our name of another program's operator, or ""."""
    return _own(name, OPERATORS, known)


def argument_name(name: str, known: Iterable[str]) -> str:
    """Return our name of another program's argument, of an operator with the arguments `known`, or ""."""
    return _own(name, ARGUMENTS, known)


def operator_hint(name: str, known: Collection[str]) -> str:
    """Suggest a replacement for an unknown operator: our name for it, how to write it, or the nearest name."""
    if own := operator_name(name, known):
        return f"it is called {own} here; `archcalc ops {own}` shows its arguments"
    text = next((text for text, others in WRITTEN.items() if _plain(name) in others.split()), "")
    return f"write {text}" if text else suggest(name, known)


def argument_hint(name: str, known: Collection[str]) -> str:
    """Suggest a replacement for an unknown argument: our name for it, or the nearest name."""
    if own := argument_name(name, known):
        return f"it is called {own} here"
    if _plain(name) in INFERRED:
        return "leave it out: archcalc infers it from the input"
    return LEFT_OUT.get(_plain(name)) or suggest(name, known)
