"""What pictures a person's own module takes, and how far it enlarges them: found by running it."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from hwmodels.errors import FileError, UsageError
from hwmodels.parts.elsewhere import reason
from searchspaces.data.scale import Scale
from searchspaces.networks import input_channels, ratio
from searchspaces.networks.several_outputs import picture_alone

Size = tuple[int, int]
SIZES: tuple[Size, ...] = (
    (24, 32),
    (48, 64),
    (64, 128),
    (128, 64),
    *((side, side) for side in (32, 48, 64, 96, 128, 224, 256, 16, 8)),
)
"""Pictures that a module is tried on, height x width: the first suits networks that want a multiple of 2, 4 or 8."""


def unwrapped(module: nn.Module, target: str) -> nn.Module:
    """The network without what makes it run faster or on several devices. Nothing in it that is marked for ``torch.compile`` is
    compiled when it is called (``_Eager``).

    Raises:
        FileError: it is a TorchScript program, or holds one, which torch.export does not take; or weights without values.
    """
    while True:
        inner = getattr(module, "_orig_mod", None)  # of torch.compile
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            break
        module = inner
    scripted = [name for name, part in module.named_modules() if isinstance(part, torch.jit.ScriptModule)]
    if scripted and not scripted[0]:
        raise FileError(
            f"{target}: a TorchScript program, no module of Python", "torch.jit.save(it, 'net.ts'), then --model net.ts."
        )
    if scripted:
        raise FileError(
            f"{target}: {scripted[0]} in it is a TorchScript program", "Leave torch.jit.script away where it is built."
        )
    empty = [name for name, value in module.state_dict().items() if isinstance(value, Tensor) and value.is_meta]
    if empty:
        hint = "Build it on the CPU, without torch.device('meta') or init_empty_weights()."
        raise FileError(f"{target}: weights without values, on the device 'meta': {', '.join(empty[:5])}", hint)
    eager = _Eager()
    module.register_forward_pre_hook(eager.enter, prepend=True)
    module.register_forward_hook(eager.leave, always_call=True)
    return module


class _Eager:
    """Hooks within which a module calls nothing compiled: it is run on many sizes of pictures, for each of which minutes of
    compiling would pass. Before and behind a call the stance of ``torch.compile`` is that of the process."""

    def __init__(self) -> None:
        self._entered: list[ExitStack] = []

    def enter(self, module: nn.Module, inputs: object) -> None:
        entered = ExitStack()
        entered.enter_context(torch.compiler.set_stance("force_eager"))
        self._entered.append(entered)

    def leave(self, module: nn.Module, inputs: object, output: object) -> None:
        self._entered.pop().close()


def in_single_precision(module: nn.Module, target: str) -> tuple[str, ...]:
    """Turn the numbers of a module into single precision, in which pictures come; what is said where they were others."""
    others = {numbers.dtype for numbers in module.parameters() if numbers.is_floating_point()} - {torch.float32}
    if not others:
        return ()
    module.float()
    kinds = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in others))
    return (f"{target}: its weights are {kinds}; it is run in float32.",)


def picture_of(
    module: nn.Module,
    target: str,
    made: input_channels.InputChannels | None = None,
    *,
    others: bool = False,
    asked: Size | None = None,
) -> tuple[int, Size]:
    """Channels of the pictures that a module reads, 1 or 3, and a size that it takes.

    The layer that a module defines first need not be the one that reads the picture, and a picture may be unshuffled before any
    reads it: where the first convolution does not say it, or what comes out has other channels, both are tried.

    Args:
        made: what the module makes of pictures first (``InputChannels.before``).
        others: whether it may read as many channels as its first convolution does, which no picture has.
        asked: a size that somebody says the module takes; it is tried after the usual ones.
    Raises:
        UsageError: it has nothing that reads pictures, or reads other channels.
        FileError: it runs on no picture.
    """
    convs = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    if not convs and not any(True for _ in module.parameters()):
        raise UsageError(f"{target}: it has no convolution, nor other weights", "A network must read pictures.")
    first = [conv.in_channels for conv in convs[:1]]
    failed, runs = "", list[tuple[int, Size]]()
    own = [count for count in first if others or count in input_channels.PICTURES]
    for channels in dict.fromkeys((*own, *input_channels.PICTURES)):
        for size in (*_whole(1 if made is None else made.multiple), *([asked] if asked else [])):
            try:
                with torch.no_grad():
                    found = module(torch.zeros(1, channels, *size))
            except Exception as error:  # whatever the module's own code raises
                failed = failed or reason(error)
                continue
            runs.append((channels, size))
            if not isinstance(found, Tensor) or found.shape[1:2] == (channels,) or channels not in input_channels.PICTURES:
                return runs[-1]
            break  # a picture of other channels comes out: one of these may have been taken for several
    if runs:
        return runs[0]
    if made is not None and first:
        made.picture(first[0])  # which tells what does not fit
    elif first and first[0] not in (1, 3):
        raise UsageError(
            f"{target}: its first convolution reads {first[0]} channels, and it runs on pictures of neither 1 nor 3 ({failed})",
            input_channels.ways(first[0]) or "A network must read pictures of 1 (luma) or 3 (RGB) channels.",
        )
    raise FileError(
        f"{target}: the network fails on every picture that was tried, from 8x8 to 256x256 pixels"
        f"{f' and {asked[0]}x{asked[1]}' if asked else ''} ({failed})",
        "Run it yourself on a picture of a size that it takes: is it so in your own code? Where that is one size alone, give it: "
        "--input HxW (height x width).",
    )


def _whole(multiple: int) -> tuple[Size, ...]:
    """``SIZES`` rounded up to multiples of a number."""
    return tuple(dict.fromkeys((-(-h // multiple) * multiple, -(-w // multiple) * multiple) for h, w in SIZES))


def scale_of(module: nn.Module, channels: int, size: Size, target: str) -> tuple[Scale, str | None]:
    """How many times a module enlarges a picture of a size that it takes; what is said of its results where they are several.

    Raises:
        FileError: it fails on that picture.
        UsageError: it gives no picture of as many channels, or one that is not enlarged by a scale (see ``data.scale``).
    """
    try:
        with torch.no_grad():
            output = module(torch.zeros(1, channels, *size))
            said = picture_alone(module, output, channels)
            if said is not None:
                output = module(torch.zeros(1, channels, *size))
    except Exception as error:
        raise FileError(f"{target}: the network fails on a small picture ({reason(error)})") from error
    if not isinstance(output, Tensor):
        raise UsageError(
            f"{target}: a picture of {channels}x{size[0]}x{size[1]} becomes {type(output).__name__}",
            "A network must return the picture as a tensor.",
        )
    first = tuple(output.shape)

    def gives(tried: Size) -> tuple[int, ...] | None:
        if tried == size:
            return first
        try:
            with torch.no_grad():
                return tuple(module(torch.zeros(1, channels, *tried)).shape)
        except Exception:  # whatever the module's own code raises: it is made for other sizes
            return None

    return ratio.found(gives, channels, size, target), said
