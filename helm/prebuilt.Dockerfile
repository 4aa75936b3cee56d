# The image of Dockerfile around a program that was built before, where no build image can be had. The context is a folder
# with `madang` and `ca-certificates.crt` (docs/kubernetes.md).
FROM scratch
COPY ca-certificates.crt /etc/ssl/certs/
COPY madang /madang
USER 65532:65532
ENTRYPOINT ["/madang"]
