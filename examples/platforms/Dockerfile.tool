FROM busybox
ARG TARGETARCH
# A list of platforms in a step ends with what is to be done about others, or they pass in silence.
RUN case "$TARGETARCH" in \
      amd64) echo "made for amd64" > /tool ;; \
      *) echo "nothing is known of $TARGETARCH" >&2; exit 1 ;; \
    esac
CMD ["cat", "/tool"]
