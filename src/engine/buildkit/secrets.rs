//! Secrets, read when a worker asks for one that the build declares.

use bollard_buildkit_proto::moby::buildkit::secrets::v1 as proto;
use tonic::{Request, Response, Status};

use super::session::Failures;
use crate::engine::forwarded::Forwarded;

pub(super) struct Secrets {
    pub forwarded: Forwarded,
    pub failures: Failures,
}

#[tonic::async_trait]
impl proto::secrets_server::Secrets for Secrets {
    async fn get_secret(
        &self,
        request: Request<proto::GetSecretRequest>,
    ) -> Result<Response<proto::GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        match self.forwarded.secret(&id) {
            Ok(Some(value)) => Ok(Response::new(proto::GetSecretResponse { data: value.expose().to_vec() })),
            Ok(None) => Err(Status::not_found(format!("there is no secret `{id}`"))),
            Err(problem) => Err(self.failures.keep(problem)),
        }
    }
}
