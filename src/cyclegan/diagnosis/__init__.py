"""The doctor: what a training's images, judgements, gradients and curves say about its health, in plain words."""
