//! Archives for `docker load`.

use serde_json::{Value, json};

use super::super::tests::{Folder, assert_blobs, files_of_tar, names};
use super::*;

#[test]
fn archive_is_for_docker_load_and_a_layout() {
    let folder = Folder::new();
    let image = folder.image("linux/amd64", &["one", "two"]);
    let attestation = Descriptor {
        platform: Some((&crate::base::Platform::new("unknown", "unknown", None)).into()),
        ..folder.image("linux/amd64", &["attestation"])
    };
    let index = folder.index(vec![image.clone(), attestation]);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("image.tar");
    write_docker_archive(&folder, &index, &names(&["api:1", "r.example/api:1"]), &Dest::Path(path.clone()))
        .unwrap();
    let files = files_of_tar(&path);
    assert_blobs(&files, 4);
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let original = read_manifest(&folder, &image).unwrap();
    let load: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let layers: Vec<_> = original.layers.iter().map(|layer| blob(&layer.digest)).collect();
    let expected = json!([{
        "Config": blob(&original.config.digest),
        "RepoTags": ["api:1", "r.example/api:1"],
        "Layers": layers,
    }]);
    assert_eq!(load, expected);

    let layout = Index::parse(&files["index.json"]).unwrap();
    assert_eq!(layout.manifests.len(), 2);
    assert_eq!(layout.manifests[0].media_type, media_type::DOCKER_MANIFEST);
    let manifest = Manifest::parse(&files[&blob(&layout.manifests[0].digest)]).unwrap();
    assert_eq!(manifest.config.media_type, media_type::DOCKER_CONFIG);
    assert_eq!(manifest.layers[1].media_type, media_type::DOCKER_LAYER_GZIP);
}

#[test]
fn several_platforms_are_refused_with_a_way_out() {
    let folder = Folder::new();
    let index = folder.index(vec![folder.image("linux/amd64", &[]), folder.image("linux/arm64", &[])]);
    let refused = write_docker_archive(&folder, &index, &[], &Dest::Path("/dev/null".into())).unwrap_err();
    let problem = crate::diag::Problem::from(&refused);
    let message =
        "an archive for `docker load` holds one platform, and the image has `linux/amd64`, `linux/arm64`";
    assert_eq!(problem.message, message);
    assert!(problem.help.unwrap().contains("type=oci"));
}
