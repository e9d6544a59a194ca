# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The benches are not built, but the manifest names them and cargo wants them to be there.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
# The cache mount is gone after this step, so the binary is copied out of it. The empty directory is for the journal.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked \
    && install -D -m 0755 target/release/sealgate /out/sealgate \
    && install -d -m 0700 /out/state

# glibc, CA certificates and a user; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="sealgate" \
      org.opencontainers.image.description="An encryption gateway for PHI" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/sealgate /usr/local/bin/sealgate
# A volume mounted here takes on this owner and mode. Mount one: the audit journal must outlive the container.
COPY --from=build --chown=65532:65532 /out/state /var/lib/sealgate
# By number, so that Kubernetes sees that it is not root.
USER 65532:65532
# Clients; probes and metrics.
EXPOSE 8443 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/usr/local/bin/sealgate", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/sealgate"]
CMD ["run", "-c", "/etc/sealgate/sealgate.yaml"]
