# docs/docker.md explains the arguments. tests/test_dockerfile.py runs these commands in a virtual environment.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# For NVIDIA GPUs: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=video,export,hub,serve,watch
RUN python -m venv /opt/cyclegan
ENV PATH=/opt/cyclegan/bin:$PATH
WORKDIR /src
# PyTorch first: it is by far the largest layer, and stays valid when the sources change.
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url "$TORCH_INDEX" torch
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url "$TORCH_INDEX" ".${EXTRAS:+[$EXTRAS]}"

FROM python:${PYTHON}-slim
COPY --from=build /opt/cyclegan /opt/cyclegan
# `docker run -u` may give any user id, also one without a home folder and a name.
RUN useradd --create-home --uid 1000 cyclegan \
    && install -d -o cyclegan /work \
    && chmod 1777 /home/cyclegan
ENV PATH=/opt/cyclegan/bin:$PATH HOME=/home/cyclegan LOGNAME=cyclegan
USER 1000
WORKDIR /work
ENTRYPOINT ["cyclegan"]
CMD ["--help"]
