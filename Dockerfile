# The image of all services: one static program in an empty file system. Its arguments say what it is: `service chat`,
# `migrate`, … (docs/kubernetes.md).
#
#     docker build -t madang:TAG .
#
# Static with glibc, not musl: the same library that everything is tested with. Names are looked up by glibc's own files
# and dns, which need nothing beside the program.
FROM rust:1.95-bookworm AS build
WORKDIR /madang
COPY . .
ENV CARGO_INCREMENTAL=0 RUSTFLAGS="-C target-feature=+crt-static"
# With a target named, build scripts and macros are built as usual: they can't be static.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && cargo build --locked --profile image --target "$target" -p madang \
 && cp "target/$target/image/madang" /madang-program

FROM scratch
# For pictures in an S3-compatible store, and pushes: whose certificates are believed.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /madang-program /madang
USER 65532:65532
ENTRYPOINT ["/madang"]
