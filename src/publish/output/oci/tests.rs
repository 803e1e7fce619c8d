//! OCI layouts, as archive and as directory.

use super::super::tests::{Folder, assert_blobs, files_of_tar, names};
use super::*;

fn ref_names(index: &[u8]) -> Vec<(String, String)> {
    let text = |descriptor: &Descriptor, key| descriptor.annotations.get(key).cloned().unwrap_or_default();
    let index = Index::parse(index).unwrap();
    index.manifests.iter().map(|found| (text(found, REF_NAME), text(found, IMAGE_NAME))).collect()
}

fn pair(tag: &str, name: &str) -> (String, String) {
    (tag.to_string(), name.to_string())
}

#[test]
fn archive_holds_the_whole_index_and_is_deterministic() {
    let folder = Folder::new();
    let image = folder.index(vec![
        folder.image("linux/amd64", &["shared", "amd"]),
        folder.image("linux/arm64", &["shared", "arm"]),
    ]);
    let place = tempfile::tempdir().unwrap();
    let [one, two] = ["out/one.tar", "out/two.tar"].map(|name| place.path().join(name));
    for path in [&one, &two] {
        let names = names(&["shop/api:1.2", "shop/api:1.2", "ghcr.io/shop/api:latest"]);
        write_oci_archive(&folder, &image, &names, &Dest::Path(path.clone())).unwrap();
    }
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
    assert_eq!(fs::read_dir(place.path().join("out")).unwrap().count(), 2);
    let files = files_of_tar(&one);
    assert_eq!(files["oci-layout"], LAYOUT.as_bytes());
    assert_eq!(
        ref_names(&files["index.json"]),
        [pair("1.2", "docker.io/shop/api:1.2"), pair("latest", "ghcr.io/shop/api:latest")]
    );
    // The index; two manifests and configs; three layers.
    assert_blobs(&files, 8);
}

#[test]
fn directories_are_added_to() {
    let folder = Folder::new();
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("new/layout");
    let (old, new) = (folder.image("linux/amd64", &["1"]), folder.image("linux/amd64", &["2"]));
    let write = |image: &Descriptor, list: &[&str]| {
        write_oci_directory(&folder, image, &names(list), &directory).unwrap();
        ref_names(&fs::read(directory.join("index.json")).unwrap())
    };
    assert_eq!(write(&old, &["api:1"]), [pair("1", "docker.io/library/api:1")]);
    assert_eq!(write(&old, &["api:1"]), [pair("1", "docker.io/library/api:1")]);
    let both = [pair("1", "docker.io/library/api:1"), pair("2", "docker.io/library/api:2")];
    assert_eq!(write(&old, &["api:2"]), both);
    let moved = [pair("2", "docker.io/library/api:2"), pair("1", "docker.io/library/api:1")];
    assert_eq!(write(&new, &["api:1"]), moved);
    let of_one_image = [pair("1", "docker.io/library/api:1"), pair("1", "r.example/api:1")];
    assert_eq!(write(&new, &["api:1", "r.example/api:1"])[1..], of_one_image);
    let blobs = fs::read_dir(directory.join("blobs/sha256")).unwrap();
    assert_eq!(blobs.count(), 5, "two manifests, two layers, one config, no temporary file");
}

#[test]
fn nothing_is_left_of_an_output_that_failed() {
    let folder = Folder::new();
    let layer = folder.put(crate::oci::media_type::OCI_LAYER_GZIP, b"layer");
    let image = folder.image_of("linux/amd64", vec![layer.clone()]);
    folder.damage(&layer.digest);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("image.tar");
    fs::write(&path, "before").unwrap();
    let failed = write_oci_archive(&folder, &image, &[], &Dest::Path(path.clone())).unwrap_err();
    assert!(matches!(failed, OutputError::Damaged { digest } if digest == layer.digest), "{failed}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn unusable_destinations_are_named() {
    let folder = Folder::new();
    let image = folder.image("linux/amd64", &[]);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "x").unwrap();
    let to_file = |path: &Path| write_oci_archive(&folder, &image, &[], &Dest::Path(path.to_path_buf()));
    assert!(matches!(to_file(place.path()), Err(OutputError::IsDirectory { .. })));
    assert!(matches!(to_file(&file.join("x")), Err(OutputError::NotADirectory { .. })));
    assert!(matches!(to_file(Path::new("/dev/full")), Err(OutputError::DiskFull { .. })));
    assert!(matches!(to_file(Path::new("/proc/x/y")), Err(OutputError::Write { .. })));
    let into_file = write_oci_directory(&folder, &image, &[], &file);
    assert!(matches!(into_file, Err(OutputError::NotADirectory { .. })), "{into_file:?}");
    fs::write(place.path().join("index.json"), "no").unwrap();
    let not_a_layout = write_oci_directory(&folder, &image, &[], place.path());
    assert!(matches!(not_a_layout, Err(OutputError::NotALayout { .. })));
    to_file(Path::new("/dev/null")).unwrap();
}
