//! How layers are compressed when an image is written out, and what that leaves alone.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::surroundings::needs;
use crate::support::{Image, Layout, Project, Registry, base};

const DOCKERFILE: &str = "FROM busybox\nCOPY files /srv\nRUN echo built > /built && rm /bin/[\n";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

fn project(base: &Path) -> Project {
    let project = Project::native_app(base, DOCKERFILE);
    for number in 0..40 {
        project.write(&format!("files/{number}"), format!("{number} ").repeat(number * 1000));
    }
    project
}

/// What the outputs wrote, in their order.
fn written(project: &Project, outputs: &[&str]) -> Vec<Image> {
    let dest = |number: usize| format!("{number}.tar");
    let mut arguments = vec!["app".to_string()];
    for (number, output) in outputs.iter().enumerate() {
        arguments.extend(["-o".to_string(), format!("type=oci,dest={}{output}", dest(number))]);
    }
    project.bake(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    (0..outputs.len()).map(|number| Layout::open(&project.path(&dest(number))).only_image()).collect()
}

fn types(image: &Image) -> Vec<String> {
    image.manifest.layers().iter().map(|layer| layer.media_type().to_string()).collect()
}

#[test]
fn new_layers_are_compressed_as_asked_and_all_when_forced() {
    let Some(base) = base() else { return };
    let outputs = [
        ("", [GZIP, GZIP, GZIP]),
        (",compression=zstd", [GZIP, ZSTD, ZSTD]),
        (",compression=uncompressed", [GZIP, TAR, TAR]),
        (",compression=gzip,compression-level=9", [GZIP, GZIP, GZIP]),
        (",compression=zstd,compression-level=19,force-compression=true", [ZSTD, ZSTD, ZSTD]),
        (",compression=uncompressed,force-compression=true", [TAR, TAR, TAR]),
        (",compression=estargz", [GZIP, GZIP, GZIP]),
    ];
    let project = project(&base);
    let images = written(&project, &outputs.map(|(options, _)| options));
    for (image, (options, expected)) in images.iter().zip(outputs) {
        assert_eq!(types(image), expected, "{options}");
        assert_eq!(image.text("built"), "built\n", "{options}");
        assert_eq!(image.text("srv/3"), "3 ".repeat(3000), "{options}");
        assert!(!image.has("bin/["), "{options}");
    }
    for image in &images[1..6] {
        assert_eq!(image.config, images[0].config, "compression is no part of the config");
    }
    let size = |image: &Image| image.manifest.layers()[1].size();
    assert!(size(&images[3]) < size(&images[0]), "level 9 is smaller");
}

/// Whatever was in the store before, and however often it is asked for.
#[test]
fn the_way_to_a_form_does_not_show() {
    let Some(base) = base() else { return };
    let forms = ["", ",compression=zstd", ",compression=uncompressed", ",compression=estargz"];
    let first = project(&base);
    let digests = |images: &[Image]| images.iter().map(Image::layer_digests).collect::<Vec<_>>();
    let expected = digests(&with_epoch(&first, &forms));
    let blobs = fs::read_dir(first.store().join("blobs/sha256")).unwrap().count();
    assert_eq!(digests(&with_epoch(&first, &forms)), expected);
    assert_eq!(fs::read_dir(first.store().join("blobs/sha256")).unwrap().count(), blobs);
    for (form, expected) in forms.iter().zip(&expected) {
        let alone = project(&base);
        assert_eq!(&digests(&with_epoch(&alone, &[form]))[0], expected, "{form}");
    }
}

/// The same times in every store.
fn with_epoch(project: &Project, forms: &[&str]) -> Vec<Image> {
    let mut arguments = vec!["bake".to_string(), "app".to_string()];
    for (number, form) in forms.iter().enumerate() {
        arguments.extend(["-o".to_string(), format!("type=oci,dest={number}.tar{form}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    project.mab(&arguments).with_env("SOURCE_DATE_EPOCH", "1500000000").run().succeeded();
    let open = |number| Layout::open(&project.path(&format!("{number}.tar"))).only_image();
    (0..forms.len()).map(open).collect()
}

#[test]
fn another_compression_builds_nothing_anew() {
    let Some(base) = base() else { return };
    let project = project(&base);
    project.bake(&["app"]);
    let ran = project.bake(&["app", "-o", "type=oci,dest=a.tar,compression=zstd"]);
    assert_eq!(ran.lines_with("RUN echo built").len(), 0, "{}", ran.errors());
}

#[test]
fn a_bake_without_outputs_names_the_digest_that_is_written_later() {
    let Some(base) = base() else { return };
    let project = project(&base);
    let digest = |arguments: &[&str]| {
        project.bake(&[arguments, &["--metadata-file", "metadata.json"]].concat());
        let metadata: Value = serde_json::from_str(&project.read("metadata.json")).expect("it is JSON");
        metadata["app"]["containerimage.digest"].as_str().expect("a digest").to_string()
    };
    let plain = digest(&["app"]);
    let written = digest(&["app", "-o", "type=oci,dest=app.tar"]);
    assert_eq!(plain, written);
    assert_ne!(digest(&["app", "--no-cache", "-o", "type=cacheonly"]), written, "nobody wants that image");
}

#[test]
fn an_estargz_has_its_table_and_landmark() {
    let Some(base) = base() else { return };
    let project = project(&base);
    let image = &written(&project, &[",compression=estargz"])[0];
    assert!(image.layers[1].contains(&"stargz.index.json".to_string()), "{:?}", image.layers[1]);
    assert_eq!(image.layers[1][0], ".no.prefetch.landmark");
    let table: Value = serde_json::from_str(&image.text("stargz.index.json")).unwrap();
    let names: Vec<_> = table["entries"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert!(names.contains(&&Value::from("built")), "{names:?}");
    let annotations = image.manifest.layers()[2].annotations().clone().unwrap();
    let digest = crate::support::sha256(image.text("stargz.index.json").as_bytes());
    assert_eq!(annotations["containerd.io/snapshot/stargz/toc.digest"], digest);
    assert!(image.manifest.layers()[0].annotations().is_none(), "the base's layer is as it was");
}

#[test]
fn an_output_may_have_an_epoch_of_its_own() {
    let Some(base) = base() else { return };
    let project = project(&base);
    let epoch = ",source-date-epoch=1500000000";
    let kept = format!("{epoch},rewrite-timestamp=false");
    let images = written(&project, &[epoch, &kept, ""]);
    assert_eq!(images[0].entry("built").mtime, 1_500_000_000);
    assert_eq!(images[0].entry("srv/3").mtime, 1_500_000_000);
    assert_eq!(images[0].config["created"], "2017-07-14T02:40:00Z");
    assert!(images[1].entry("built").mtime > 1_500_000_000);
    assert_eq!(images[1].config["created"], "2017-07-14T02:40:00Z");
    assert!(images[2].entry("built").mtime > 1_500_000_000);
    let said = |arguments: &[&str], epoch: &str| {
        let arguments = [&["bake", "app", "-o"], arguments].concat();
        project.mab(&arguments).with_env("SOURCE_DATE_EPOCH", epoch).run().succeeded().errors()
    };
    let (yes, no) =
        ("type=oci,dest=a.tar,rewrite-timestamp=true", "type=oci,dest=a.tar,rewrite-timestamp=false");
    let own = "type=oci,dest=a.tar,rewrite-timestamp=true,source-date-epoch=1500000000";
    for (output, epoch, expected) in [
        (yes, "", Some("`rewrite-timestamp=true` changes nothing: there is no epoch")),
        (no, "1500000000", Some("`rewrite-timestamp=false` is not followed")),
        (yes, "1500000000", None),
        (no, "", None),
        (own, "", None),
    ] {
        let said = said(&[output], epoch);
        assert_eq!(expected.filter(|text| said.contains(text)), expected, "{said}");
        assert_eq!(said.contains("rewrite-timestamp"), expected.is_some(), "{said}");
    }
    assert_ne!(images[2].config["created"], "2017-07-14T02:40:00Z");
}

#[test]
fn what_is_pushed_by_digest_moves_no_tag() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let repository = registry.repository("by-digest");
    let project = project(&base);
    let output = format!("type=image,name={repository},push-by-digest=true,name-canonical=true,push=true");
    project.bake(&["app", "-o", &output, "--metadata-file", "metadata.json"]);
    let requests = registry.requests();
    let put: Vec<_> = requests.iter().filter(|request| request.starts_with("PUT")).collect();
    let manifests: Vec<_> = put.iter().filter(|request| request.contains("/manifests/")).collect();
    assert!(
        !manifests.is_empty() && manifests.iter().all(|put| put.contains("/manifests/sha256:")),
        "{put:#?}"
    );
    let metadata: Value = serde_json::from_str(&project.read("metadata.json")).unwrap();
    let digest = metadata["app"]["containerimage.digest"].as_str().unwrap().to_string();
    assert!(manifests.iter().any(|put| put.contains(&digest)), "{put:#?}");
}

#[test]
fn annotations_of_one_output_are_on_its_image_alone() {
    let Some(base) = base() else { return };
    let project = project(&base);
    let images = written(&project, &[",annotation.a.b=c", ""]);
    assert_eq!(images[0].manifest.annotations().as_ref().unwrap()["a.b"], "c");
    assert_eq!(images[1].manifest.annotations().as_ref().map(|all| all.contains_key("a.b")), None);
}

#[test]
fn other_tools_read_every_form() {
    let Some(base) = base() else { return };
    if !needs("skopeo") {
        return;
    }
    let project = project(&base);
    for form in ["gzip", "zstd", "estargz", "uncompressed"] {
        project.bake(&["app", "-o", &format!("type=oci,dest={form},tar=false,compression={form}")]);
        let (from, to) = (format!("oci:{form}"), format!("dir:{form}.dir"));
        let run = std::process::Command::new("skopeo")
            .args(["copy", "--dest-decompress", &from, &to])
            .current_dir(project.path(""))
            .output()
            .unwrap();
        assert!(run.status.success(), "{form}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

#[test]
fn a_layer_of_which_little_changed_is_the_same_as_one_written_anew() {
    let Some(base) = base() else { return };
    const COPY: &str = "FROM busybox\nCOPY files /srv\n";
    const USE: &str = "FROM busybox\nCOPY --from=app /srv/1 /srv/399 /\nRUN --mount=from=app,source=/srv,target=/srv \
                       cat /srv/* | sha256sum > /sum\n";
    let project = || {
        let project = Project::native_app(&base, COPY);
        (0..400).for_each(|number| write_words(&project, number, 0));
        project
    };
    let bake = |project: &Project, output: &str| {
        let arguments = ["bake", "app", "-o", output];
        project.mab(&arguments).with_env("SOURCE_DATE_EPOCH", "1500000000").run().succeeded();
        fs::read_dir(project.store().join("composed")).map_or(0, Iterator::count)
    };
    let outcome = |project: &Project| {
        let composed = bake(project, "type=cacheonly");
        bake(project, "type=oci,dest=app.tar");
        project.write("Dockerfile", format!("{}{}", COPY.replace("busybox\n", "busybox AS app\n"), USE));
        bake(project, "type=oci,dest=used.tar");
        let open = |name: &str| Layout::open(&project.path(name)).only_image().layer_digests();
        project.write("Dockerfile", COPY);
        (composed, open("app.tar"), open("used.tar"))
    };
    let changed = project();
    assert_eq!(bake(&changed, "type=cacheonly"), 0);
    write_words(&changed, 10, 5);
    assert_eq!(bake(&changed, "type=cacheonly"), 1);
    write_words(&changed, 300, 6);
    let (composed, app, used) = outcome(&changed);
    assert_eq!(composed, 2);
    let fresh = project();
    write_words(&fresh, 10, 5);
    write_words(&fresh, 300, 6);
    let (composed, expected_app, expected_used) = outcome(&fresh);
    assert_eq!(composed, 0, "there is nothing to compose a first layer of");
    assert_eq!((app, used), (expected_app, expected_used));
}

/// A file of some 30 kB, another one for another `version`.
fn write_words(project: &Project, number: usize, version: usize) {
    project.write(&format!("files/{number}"), format!("{number} {version} ").repeat(5000));
}
