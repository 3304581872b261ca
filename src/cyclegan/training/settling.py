"""What only the data can tell of a configuration: decided once when a training begins, and kept in its file."""

from dataclasses import replace

from cyclegan.config import Config
from cyclegan.data.folders import Domains
from cyclegan.data.ranges import with_found_ranges


def settled(config: Config, domains: Domains) -> tuple[Config, list[str]]:
    """The configuration with ranges in numbers, and without an identity loss that cannot be; a sentence for each.

    Raises `UsageError` when the images of a domain have no range.
    """
    data, notes = with_found_ranges(config.data, domains.train)
    loss = config.loss
    if loss.method == "cyclegan" and loss.lambda_identity > 0 and data.channels_a != data.channels_b:
        loss = replace(loss, lambda_identity=0.0)
        notes.append(
            f"The identity loss is off: it needs equal channels, and A has {data.channels_a}, B {data.channels_b}."
        )
    return replace(config, data=data, loss=loss), notes
