//! Docker Engines that run for the tests, as another client sees them.

use std::future::Future;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptionsBuilder, ListImagesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::TryStreamExt as _;
use tokio::runtime::Runtime;

use super::surroundings::skip;

/// What one of them is told to run must not need a network of its own: it has none.
pub struct Engine {
    pub address: String,
    runtime: Runtime,
    docker: Docker,
}

/// The distribution's Engine, and the newest if there is one.
pub fn engines() -> Vec<Engine> {
    let addresses = std::env::var("MAB_TEST_DOCKER").unwrap_or_default();
    let addresses: Vec<&str> = addresses.split(',').filter(|address| !address.is_empty()).collect();
    if addresses.len() < 2 {
        skip(
            "what asks a real Docker Engine, or its newest version: tests/services/start could not start it",
        );
    }
    addresses.into_iter().map(Engine::new).collect()
}

impl Engine {
    fn new(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("threads");
        let docker = runtime.block_on(async {
            let docker =
                Docker::connect_with_local(address, 60, API_DEFAULT_VERSION).expect("it has a socket");
            docker.negotiate_version().await.expect("it answers")
        });
        Self { address: address.to_string(), runtime, docker }
    }

    fn wait<T>(&self, what: impl Future<Output = Result<T, bollard::errors::Error>>) -> T {
        self.runtime.block_on(what).unwrap_or_else(|error| panic!("{}: {error}", self.address))
    }

    /// The path of its socket.
    pub fn socket(&self) -> &str {
        self.address.trim_start_matches("unix://")
    }

    /// Whether it keeps images as Engines did before containerd kept them.
    pub fn is_classic(&self) -> bool {
        let status = self.wait(self.docker.info()).driver_status.unwrap_or_default();
        !status.iter().flatten().any(|text| text.starts_with("io.containerd."))
    }

    /// The platforms that it has of an image, sorted.
    pub fn platforms(&self, name: &str) -> Vec<String> {
        if self.is_classic() {
            let image = self.wait(self.docker.inspect_image(name));
            let part = |part: Option<String>| part.unwrap_or_default();
            return vec![format!("{}/{}", part(image.os), part(image.architecture))];
        }
        let options = ListImagesOptionsBuilder::new().manifests(true).build();
        let images = self.wait(self.docker.list_images(Some(options)));
        let image = images.into_iter().find(|image| image.repo_tags.iter().any(|tag| tag == name));
        let image = image.unwrap_or_else(|| panic!("there is no `{name}`"));
        let there = image.manifests.unwrap_or_default().into_iter().filter(|manifest| manifest.available);
        let platforms = there.filter_map(|manifest| {
            let platform = manifest.image_data?.platform;
            Some(format!("{}/{}", platform.os?, platform.architecture?))
        });
        let mut platforms: Vec<String> = platforms.collect();
        platforms.sort();
        platforms
    }

    pub fn id(&self, name: &str) -> String {
        self.wait(self.docker.inspect_image(name)).id.unwrap_or_default()
    }

    /// What is in a file of an image.
    pub fn read(&self, image: &str, path: &str) -> Vec<u8> {
        let container = self.create(image, &["none"], &[]);
        let options = DownloadFromContainerOptionsBuilder::new().path(&format!("/{path}")).build();
        let archive = self.docker.download_from_container(&container.id, Some(options));
        let archive: Vec<bytes::Bytes> = self.wait(archive.try_collect());
        let archive = archive.concat();
        let mut archive = tar::Archive::new(&archive[..]);
        let mut entry = archive.entries().expect("a tar").next().expect("an entry").expect("a whole entry");
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("it is in memory");
        content
    }

    /// The names of all images that hold the text.
    pub fn names_with(&self, text: &str) -> Vec<String> {
        let images = self.wait(self.docker.list_images(None::<bollard::query_parameters::ListImagesOptions>));
        let names = images.into_iter().flat_map(|image| image.repo_tags);
        names.filter(|name| name.contains(text)).collect()
    }

    pub fn remove_image(&self, name: &str) {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        self.wait(self.docker.remove_image(name, Some(options), None));
    }

    /// Starts a container without a network, which is removed when it is dropped.
    pub fn start(&self, image: &str, command: &[&str], binds: &[String]) -> Container<'_> {
        let container = self.create(image, command, binds);
        self.wait(self.docker.start_container(&container.id, None::<StartContainerOptions>));
        container
    }

    fn create(&self, image: &str, command: &[&str], binds: &[String]) -> Container<'_> {
        let host = HostConfig {
            binds: Some(binds.to_vec()),
            network_mode: Some("none".to_string()),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(image.to_string()),
            cmd: Some(command.iter().map(ToString::to_string).collect()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let id = self.wait(self.docker.create_container(None::<CreateContainerOptions>, body)).id;
        Container { engine: self, id }
    }
}

pub struct Container<'a> {
    engine: &'a Engine,
    pub id: String,
}

impl Container<'_> {
    /// Ends what runs in it; the container stays.
    pub fn stop(&self) {
        let options = StopContainerOptionsBuilder::new().t(0).build();
        self.engine.wait(self.engine.docker.stop_container(&self.id, Some(options)));
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        let removing = self.engine.docker.remove_container(&self.id, Some(options));
        // What cannot be removed goes with its Engine.
        drop(self.engine.runtime.block_on(removing));
    }
}
