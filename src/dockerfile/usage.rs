//! How each instruction is written: the next step for problems that know of no better one.

/// The form of the instruction `name`, which is in upper case.
pub(super) fn usage(name: &str) -> Option<&'static str> {
    Some(match name {
        "ADD" => "the form is `ADD [--flag=value…] source… destination`",
        "ARG" => "the form is `ARG name[=default]…`",
        "CMD" => "the form is `CMD command` or `CMD [\"program\", \"argument\"]`",
        "COPY" => "the form is `COPY [--flag=value…] source… destination`",
        "ENTRYPOINT" => "the form is `ENTRYPOINT [\"program\", \"argument\"]` or `ENTRYPOINT command`",
        "ENV" => "the form is `ENV name=value…`",
        "EXPOSE" => "the form is `EXPOSE port[-last][/tcp]…`",
        "FROM" => "the form is `FROM [--platform=platform] image [AS name]`",
        "HEALTHCHECK" => "the form is `HEALTHCHECK [--interval=30s…] CMD command` or `HEALTHCHECK NONE`",
        "LABEL" => "the form is `LABEL name=value…`",
        "MAINTAINER" => "the form is `MAINTAINER name`",
        "ONBUILD" => "the form is `ONBUILD instruction`, with any but FROM, ONBUILD and MAINTAINER",
        "RUN" => "the form is `RUN [--flag=value…] command`",
        "SHELL" => "the form is `SHELL [\"program\", \"argument\"]`",
        "STOPSIGNAL" => "the form is `STOPSIGNAL signal`, by name or number",
        "USER" => "the form is `USER user[:group]`",
        "VOLUME" => "the form is `VOLUME path…` or `VOLUME [\"path\"]`",
        "WORKDIR" => "the form is `WORKDIR path`",
        _ => return None,
    })
}
