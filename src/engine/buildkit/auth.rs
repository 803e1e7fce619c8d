//! Credentials of registries, for a worker that pulls bases: those of the hosts that the build names, nobody else's.

use std::collections::BTreeSet;

use bollard_buildkit_proto::moby::filesync::v1 as proto;
use tonic::{Request, Response, Status};

use crate::registry::{Credential, Credentials};

pub(super) struct Auth {
    pub credentials: Credentials,
    /// Repositories by the registry they are in, as references have it.
    pub repositories: BTreeSet<(String, String)>,
}

impl Auth {
    /// The credential of the first repository of this host that has one.
    async fn find(&self, host: &str) -> Option<Credential> {
        for (registry, repository) in &self.repositories {
            match self.credentials.of(registry, host, repository).await {
                None | Some(Credential::Anonymous) => {}
                found => return found,
            }
        }
        None
    }
}

#[tonic::async_trait]
impl proto::auth_server::Auth for Auth {
    async fn credentials(
        &self,
        request: Request<proto::CredentialsRequest>,
    ) -> Result<Response<proto::CredentialsResponse>, Status> {
        let (username, secret) = match self.find(&request.into_inner().host).await {
            Some(Credential::Basic { username, password }) => (username, password),
            // An empty name tells that it is a token.
            Some(Credential::IdentityToken { token, .. } | Credential::RegistryToken(token)) => {
                (String::new(), token)
            }
            Some(Credential::Anonymous) | None => {
                return Ok(Response::new(proto::CredentialsResponse::default()));
            }
        };
        let secret = secret.expose_str().unwrap_or_default().to_string();
        Ok(Response::new(proto::CredentialsResponse { username, secret }))
    }

    async fn fetch_token(
        &self,
        _: Request<proto::FetchTokenRequest>,
    ) -> Result<Response<proto::FetchTokenResponse>, Status> {
        Err(Status::unimplemented("only `Credentials` is answered"))
    }

    async fn get_token_authority(
        &self,
        _: Request<proto::GetTokenAuthorityRequest>,
    ) -> Result<Response<proto::GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("only `Credentials` is answered"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<proto::VerifyTokenAuthorityRequest>,
    ) -> Result<Response<proto::VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("only `Credentials` is answered"))
    }
}
