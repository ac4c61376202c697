# docker build -t sami-llm-proxy .                    the image for daily use: busybox (sh, netstat, wget) and the proxy
# docker build -t sami-llm-proxy --target scratch --build-arg FEATURES=--no-default-features .
#                                                     nothing but the proxy: no shell, no doctor
#
# Works with BuildKit and without it, on any architecture that the base images exist for. For several at once:
#
#   docker run --privileged --rm tonistiigi/binfmt --install arm64     (once; each architecture is built under emulation)
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/sami-proxy --push .
#
# What is in the program stands in /usr/local/share/sami-proxy/sami-proxy.cdx.json (CycloneDX).

# For the labels. The version is that of Cargo.toml; scripts/release.sh minds it. A build context knows neither its
# revision nor where it came from, so who publishes an image says so: --build-arg REVISION="$(git rev-parse HEAD)".
ARG VERSION=0.1.0
ARG REVISION=""
ARG SOURCE=""

FROM rust:1-slim-bookworm AS build
# By which scripts/test-docker.sh finds what earlier builds have left.
LABEL sami-proxy.stage=build
WORKDIR /build
# One file that needs no library of the image it runs in. The linker flag must not reach procedural macros, which are
# libraries that rustc loads: with an explicit --target it is for the program only. What a static glibc can't do
# (getaddrinfo through NSS) is never asked of it: names go through hickory.
# Random numbers come from the kernel, not from /dev/urandom.
ENV RUSTFLAGS="-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\""
# --no-default-features: without the doctor
ARG FEATURES=""
# The dependencies, with empty libraries in place of ours: this layer stays until a Cargo.toml or Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY core/Cargo.toml core/
RUN mkdir -p src/bin && echo '//! Stand-in.' | tee src/lib.rs >src/core.rs && echo 'fn main() {}' >src/bin/sami-proxy.rs \
    && cargo build --release --locked --lib $FEATURES --target "$(rustc --print host-tuple)"
COPY . .
# cargo goes by time stamps, and our sources may be older than the stand-ins above. The table of addresses that the
# program corrects at its start, packed, is 0.4 MB smaller (x86-64 only; glibc 2.36 or newer does it).
RUN find src -type f -exec touch {} + \
    && cargo rustc --release --locked --bin sami-proxy $FEATURES --target "$(rustc --print host-tuple)" \
       -- -C link-arg=-Wl,-z,pack-relative-relocs \
    && cp "target/$(rustc --print host-tuple)/release/sami-proxy" /sami-proxy && mkdir /state \
    && sh scripts/sbom.sh "$(rustc --print host-tuple)" $FEATURES >/sami-proxy.cdx.json

# The two images below say the same of themselves.
#
# No --start-period and no --start-interval: engines before 25.0 refuse the latter, and newer ones would wait its default
# of 5 s. So the first look is after one interval, on every engine. It asks where SAMI_PROXY_LISTEN says (a --listen
# given as an argument to `serve` it can't know).
FROM scratch AS scratch
COPY --from=build /sami-proxy /usr/local/bin/sami-proxy
COPY --from=build /sami-proxy.cdx.json /usr/local/share/sami-proxy/
# Where --tls-self-signed keeps its certificate; a named volume put here belongs to the user, too.
COPY --from=build --chown=65532:65532 /state /var/lib/sami-proxy
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# `docker stop` kills after 10 s; who gives it more time (-t, stop_grace_period) gives the drain more, too.
ENV SAMI_PROXY_DRAIN_TIMEOUT=8s
ENV SAMI_PROXY_STATE_DIR=/var/lib/sami-proxy
HEALTHCHECK --interval=3s --timeout=5s --retries=3 CMD ["/usr/local/bin/sami-proxy", "healthcheck"]
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="sami-proxy" \
      org.opencontainers.image.description="A forward proxy for reaching LLM APIs, and the doctor of its own troubles" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
ENTRYPOINT ["/usr/local/bin/sami-proxy"]
CMD ["serve"]

FROM busybox:stable-musl
# So that `docker exec … sami-proxy doctor` finds the program whatever the base image says.
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN echo 'sami:x:65532:65532:sami-proxy:/:/bin/false' >>/etc/passwd && echo 'sami:x:65532:' >>/etc/group
COPY --from=build /sami-proxy /usr/local/bin/sami-proxy
COPY --from=build /sami-proxy.cdx.json /usr/local/share/sami-proxy/
# Where --tls-self-signed keeps its certificate; a named volume put here belongs to the user, too.
COPY --from=build --chown=65532:65532 /state /var/lib/sami-proxy
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# `docker stop` kills after 10 s; who gives it more time (-t, stop_grace_period) gives the drain more, too.
ENV SAMI_PROXY_DRAIN_TIMEOUT=8s
ENV SAMI_PROXY_STATE_DIR=/var/lib/sami-proxy
HEALTHCHECK --interval=3s --timeout=5s --retries=3 CMD ["/usr/local/bin/sami-proxy", "healthcheck"]
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="sami-proxy" \
      org.opencontainers.image.description="A forward proxy for reaching LLM APIs, and the doctor of its own troubles" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
ENTRYPOINT ["/usr/local/bin/sami-proxy"]
CMD ["serve"]
