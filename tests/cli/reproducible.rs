//! The same bytes from the same input: in another store, at another time, as another user.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::surroundings::base_with_ids;
use crate::support::{Account, Layout, Project};

/// Before any file of this repository was written.
const EPOCH: &str = "1500000000";

/// Gives every file below a folder the same time, `age` ago.
fn date(folder: &Path, age: Duration) {
    for entry in fs::read_dir(folder).expect("it is a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            date(&path, age);
        } else {
            let file = fs::File::options().append(true).open(&path).expect("it is ours");
            file.set_modified(SystemTime::now() - age).expect("it is ours");
        }
    }
}

/// The digests of every target, and nothing else.
fn digests(project: &Project) -> Value {
    let arguments = ["bake", "--metadata-file", "metadata.json"];
    project.mab(&arguments).with_env("SOURCE_DATE_EPOCH", EPOCH).run().succeeded();
    let metadata: Value = serde_json::from_str(&project.read("metadata.json")).expect("it is JSON");
    let targets = metadata.as_object().expect("one key for each target");
    targets.iter().map(|(name, target)| (name.clone(), target["containerimage.digest"].clone())).collect()
}

#[test]
fn two_stores_give_the_same_digests() {
    let Some(base) = base_with_ids() else { return };
    let (first, second) = (Project::shop(&base), Project::shop(&base));
    date(&first.path("examples"), Duration::from_secs(100));
    date(&second.path("examples"), Duration::from_secs(200_000));
    let expected = digests(&first);
    assert_eq!(expected.as_object().unwrap().len(), 3);
    assert_eq!(digests(&second), expected);
}

#[test]
fn no_time_after_the_epoch_is_in_an_image() {
    let Some(base) = base_with_ids() else { return };
    let shop = Project::shop(&base);
    let output = ["bake", "web", "-o", "type=oci,dest=web.tar"];
    shop.mab(&output).with_env("SOURCE_DATE_EPOCH", EPOCH).run().succeeded();
    let epoch: u64 = EPOCH.parse().unwrap();
    let layout = Layout::open(&shop.path("web.tar"));
    for platform in layout.platforms() {
        let image = layout.image(&platform);
        let late: Vec<_> = image.tree.iter().filter(|(_, entry)| entry.mtime > epoch).collect();
        assert!(late.is_empty(), "{late:?}");
        assert_eq!(image.config["created"], "2017-07-14T02:40:00Z");
        let history = image.config["history"].as_array().unwrap();
        assert!(
            history.iter().all(|entry| entry["created"].as_str() <= Some("2017-07-14T02:40:00Z")),
            "{history:#?}"
        );
    }
}

#[test]
fn an_ordinary_user_gets_the_digests_that_root_gets() {
    let Some(account) = Account::with_subordinate_ids() else { return };
    let Some(base) = account.base() else { return };
    let expected = digests(&Project::shop(&base));
    let project = Project::shop(&base).owned_by(account);
    assert_eq!(digests(&project), expected);
    project
        .mab(&["bake"])
        .with_env("SOURCE_DATE_EPOCH", EPOCH)
        .run()
        .succeeded()
        .says("nothing had to be done");
}

#[test]
fn one_id_is_enough_for_files_of_root() {
    let Some(account) = Account::plain() else { return };
    let Some(base) = account.base() else { return };
    let simple = || {
        let project =
            Project::app(&base, "FROM busybox\nCOPY file /srv/\nRUN uname -m > /machine && mkdir /new\n");
        project.write("file", "text");
        let file = project.read("multiarch.toml");
        project.file("multiarch.toml", &format!("{file}[group.default]\ntargets = [\"app\"]\n"))
    };
    let expected = digests(&simple());
    assert_eq!(digests(&simple().owned_by(account)), expected);
}

/// Which times a command sees must not depend on whether the store unpacked a layer or kept it from a RUN.
#[test]
fn a_command_sees_the_times_that_layers_have() {
    let Some(base) = base_with_ids() else { return };
    let dockerfile = "FROM busybox\nRUN mkdir /made && echo text > /made/file && ln -s file /made/link\n";
    let project = Project::native_app(&base, dockerfile);
    let bake = || project.mab(&["bake", "app"]).with_env("SOURCE_DATE_EPOCH", EPOCH).run().succeeded();
    bake();
    let look = "RUN stat -c '%n %Y' /made /made/* > /times\n";
    project.write("Dockerfile", format!("{dockerfile}{look}"));
    let times = |project: &Project| {
        let output = ["bake", "app", "-o", "type=oci,dest=app.tar"];
        project.mab(&output).with_env("SOURCE_DATE_EPOCH", EPOCH).run().succeeded();
        Layout::open(&project.path("app.tar")).only_image().text("times")
    };
    let expected = format!("/made {EPOCH}\n/made/file {EPOCH}\n/made/link {EPOCH}\n");
    assert_eq!(times(&project), expected, "kept by the RUN");
    fs::remove_dir_all(project.store().join("snapshots")).unwrap();
    fs::create_dir(project.store().join("snapshots")).unwrap();
    project.write("Dockerfile", format!("{dockerfile}{look}RUN true\n"));
    assert_eq!(times(&project), expected, "unpacked");
}

#[test]
fn how_much_runs_at_a_time_does_not_show() {
    let Some(base) = base_with_ids() else { return };
    let with_jobs = |jobs: &str| {
        let project = Project::shop(&base);
        let arguments = ["bake", "-j", jobs, "--metadata-file", "metadata.json"];
        project.mab(&arguments).with_env("SOURCE_DATE_EPOCH", EPOCH).run().succeeded();
        let metadata: Value = serde_json::from_str(&project.read("metadata.json")).expect("it is JSON");
        let targets = metadata.as_object().expect("one key for each target").clone();
        targets.into_iter().map(|(name, target)| (name, target["containerimage.digest"].clone())).collect()
    };
    let (one, two): (Value, Value) = (with_jobs("1"), with_jobs("2"));
    assert_eq!(one, two);
}

/// Every compression, too.
#[test]
fn all_forms_are_the_same_in_every_store() {
    let Some(base) = base_with_ids() else { return };
    let digests = || {
        let project = Project::native_app(&base, "FROM busybox\nRUN echo text > /file\nWORKDIR /srv\n");
        let forms = ["gzip", "zstd", "estargz", "uncompressed"];
        let outputs = forms.map(|form| format!("type=oci,dest={form}.tar,compression={form}"));
        let mut arguments = vec!["bake", "app"];
        arguments.extend(outputs.iter().flat_map(|output| ["-o", output]));
        project.mab(&arguments).with_env("SOURCE_DATE_EPOCH", EPOCH).run().succeeded();
        forms.map(|form| Layout::open(&project.path(&format!("{form}.tar"))).digest())
    };
    assert_eq!(digests(), digests());
}

#[test]
fn an_epoch_comes_from_what_has_a_time() {
    let web = crate::support::Web::start();
    web.page("/f", "text").header("/f", "Last-Modified", "Sun, 06 Nov 1994 08:49:47 GMT");
    let url = web.url("/f");
    let dockerfile = format!(
        "ARG SOURCE_DATE_EPOCH=stamp\nFROM scratch AS stamp\nARG FILE=f\nADD {}$FILE /\n\
         FROM scratch\nARG SOURCE_DATE_EPOCH\nCOPY Dockerfile /\nLABEL epoch=$SOURCE_DATE_EPOCH\n",
        web.url("/")
    );
    let check = |keys: &str, environment: &str, expected: &str| {
        let file = format!("[target.app]\nplatforms = [\"linux/amd64\"]\n{keys}\n");
        let project = Project::of(&file).file("Dockerfile", &dockerfile);
        let bake = ["bake", "app", "-o", "type=oci,dest=out.tar"];
        project.mab(&bake).with_env("SOURCE_DATE_EPOCH", environment).run().succeeded();
        let image = Layout::open(&project.path("out.tar")).only_image();
        let label = image.config["config"]["Labels"]["epoch"].as_str().expect("a label").to_string();
        let created = image.config["created"].as_str().expect("a time").to_string();
        if expected.is_empty() {
            assert_eq!(label, "", "{keys} {environment}");
        } else {
            assert_eq!(format!("{label} {created}"), expected, "{keys} {environment}");
        }
    };
    check("", "", "784111787 1994-11-06T08:49:47Z");
    check("", "1000000000", "1000000000 2001-09-09T01:46:40Z");
    check("args = { SOURCE_DATE_EPOCH = \"1\" }", "1000000000", "1 1970-01-01T00:00:01Z");
    check("args = { SOURCE_DATE_EPOCH = \"\" }", "1000000000", "");
    check("args = { SOURCE_DATE_EPOCH = \"context\" }", "", "");
    let named = format!("args = {{ SOURCE_DATE_EPOCH = \"files\" }}\ncontexts = {{ files = \"{url}\" }}");
    check(&named, "", "784111787 1994-11-06T08:49:47Z");
    for wrong in ["soon", "-1", "253402300800"] {
        let project = Project::of(&format!("[target.app]\nargs = {{ SOURCE_DATE_EPOCH = \"{wrong}\" }}\n"))
            .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        let ran = project.mab(&["bake", "app"]).run().failed(2);
        ran.says(&format!("SOURCE_DATE_EPOCH is `{wrong}`")).says("multiarch.toml:2");
    }
}
