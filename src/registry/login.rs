//! Whether a registry knows whoever the credentials say.

use reqwest::Method;

use super::client::{Registry, RegistryOptions};
use super::endpoint::Call;
use super::error::RegistryError;
use super::transport::Body;
use super::{Credential, Credentials};
use crate::base::Reference;
use crate::http::retrying;

impl Registry {
    /// Shows a credential to the registry of a name. `false`: it lets in everybody, and did not ask.
    pub async fn check_credential(
        &self,
        name: &Reference,
        credential: &Credential,
    ) -> Result<bool, RegistryError> {
        let credentials = Credentials::fixed(name.registry(), credential.clone());
        let shown = self.adjusted(|options: &mut RegistryOptions| options.credentials = credentials);
        let what = format!("logging in to `{}`", name.registry());
        let repository = shown.repository(name).await?;
        let ask = || async {
            let (method, headers, body) = (Method::GET, Vec::new(), Body::Empty);
            let call =
                Call { method, url: repository.root(), headers, scopes: Vec::new(), body, what: &what };
            repository.send(call).await
        };
        retrying(self.retries(), ask).await?;
        Ok(repository.was_asked())
    }
}
