//! ADD of files over HTTP.

use crate::support::archive::{Form, Tar};
use crate::support::image::sha256;
use crate::support::{Fault, Image, Kind, Layout, Project, Ran, Web};

const FILE: &str = "[target.app]\nplatforms = [\"linux/amd64\"]\n";
const BUILD: [&str; 4] = ["bake", "app", "-o", "type=oci,dest=out.tar"];

fn project(dockerfile: &str) -> Project {
    Project::of(FILE).file("Dockerfile", dockerfile)
}

fn build(project: &Project) -> Ran {
    project.mab(&BUILD).run().succeeded()
}

fn image(project: &Project) -> Image {
    Layout::open(&project.path("out.tar")).only_image()
}

#[test]
fn a_file_has_its_name_mode_and_time_from_its_server() {
    let web = Web::start();
    web.page("/dir/tool.sh?v=1", "one").header(
        "/dir/tool.sh?v=1",
        "Last-Modified",
        "Sun, 06 Nov 1994 08:49:47 GMT",
    );
    web.page("/", "two");
    let (tool, root) = (web.url("/dir/tool.sh?v=1"), web.url("/"));
    let project = project(&format!(
        "FROM scratch\nARG V=1\nADD {} /bin/\nADD {root} /named\nADD --chmod=755 --chown=7:8 {tool} {root} /d/\n",
        tool.replace("v=1", "v=$V")
    ));
    build(&project);
    let image = image(&project);
    let check = |path: &str, text: &str, mode: u32, owner: (u64, u64), mtime: u64| {
        let entry = image.entry(path);
        assert_eq!(
            (image.text(path).as_str(), entry.mode, entry.owner, entry.mtime),
            (text, mode, owner, mtime),
            "{path}"
        );
    };
    check("bin/tool.sh", "one", 0o600, (0, 0), 784_111_787);
    check("named", "two", 0o600, (0, 0), 0);
    check("d/tool.sh", "one", 0o755, (7, 8), 784_111_787);
    check("d/__unnamed__", "two", 0o755, (7, 8), 0);
    assert_eq!(image.layers.len(), 3, "one instruction, one layer");
    assert_eq!(image.config["history"][1]["created_by"], format!("ADD {tool} /bin/ # buildkit"));
}

#[test]
fn local_and_remote_sources_make_one_layer_in_their_order() {
    let web = Web::start();
    web.page("/b", "remote b").page("/c", "remote c");
    let project = project(&format!(
        "FROM scratch\nADD a b {} {} c <<inline /d/\ntext\ninline\n",
        web.url("/b"),
        web.url("/c")
    ));
    for name in ["a", "b", "c"] {
        project.write(name, format!("local {name}"));
    }
    std::fs::hard_link(project.path("a"), project.path("other")).unwrap();
    build(&project);
    let image = image(&project);
    let texts = ["a", "b", "c", "inline"].map(|name| image.text(&format!("d/{name}")));
    assert_eq!(texts, ["local a", "remote b", "local c", "text\n"]);
    assert_eq!(image.layers.len(), 1);
}

#[test]
fn an_unchanged_file_is_not_fetched_again() {
    let web = Web::start();
    web.page("/f", "one").header("/f", "ETag", "\"1\"");
    let project = project(&format!("FROM scratch\nADD {} /\n", web.url("/f")));
    build(&project);
    assert_eq!(web.requests(), ["GET /f"]);
    let first = image(&project).digest;
    build(&project).says("nothing had to be done");
    assert_eq!(web.requests(), ["GET /f if-none-match=\"1\""]);
    assert_eq!(image(&project).digest, first);
    // The server forgets what it was asked, and answers with the file and its old tag.
    web.page("/f", "one, again").header("/f", "Vary", "x");
    build(&project).says("nothing had to be done");
    let changed = Web::start();
    changed.page("/f", "two").header("/f", "ETag", "\"2\"");
    project.write("Dockerfile", format!("FROM scratch\nADD {} /\n", changed.url("/f")));
    build(&project);
    assert_eq!(image(&project).text("f"), "two");
}

#[test]
fn a_checksum_is_all_that_has_to_be_asked() {
    let web = Web::start();
    web.page("/f", "text");
    let digest = sha256(b"text");
    let project =
        project(&format!("FROM scratch\nARG SUM={digest}\nADD --checksum=$SUM {} /\n", web.url("/f")));
    build(&project);
    assert_eq!(web.requests(), ["GET /f"]);
    build(&project).says("nothing had to be done");
    assert_eq!(web.requests(), [""; 0]);
    project.edit("Dockerfile", &digest, &sha256(b"other"));
    let ran = project.mab(&BUILD).run().failed(4);
    let message = format!("`{}` has the digest {digest}, not {}", web.url("/f"), sha256(b"other"));
    let ran = ran.says(&message).says("Dockerfile:3").says("--checksum");
    assert!(ran.stderr.contains("ADD --checksum"), "{}", ran.stderr);
}

#[test]
fn remote_archives_are_unpacked_when_asked() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    header.set_mode(0o640);
    archive.append_data(&mut header, "in/file", &b"text"[..]).unwrap();
    let web = Web::start();
    web.page("/a.tar", archive.into_inner().unwrap());
    let url = web.url("/a.tar");
    let project =
        project(&format!("FROM scratch\nADD {url} /as-it-is/\nADD --unpack=true {url} /unpacked/\n"));
    build(&project);
    let image = image(&project);
    assert!(matches!(image.entry("as-it-is/a.tar").kind, Kind::File(_)));
    assert_eq!(
        (image.text("unpacked/in/file").as_str(), image.entry("unpacked/in/file").mode),
        ("text", 0o640)
    );
}

#[test]
fn what_a_later_source_takes_the_place_of_is_gone_in_their_common_layer() {
    let tar = |members: Tar| members.bytes(Form::Plain);
    let (mode, owner) = (0o644, (0, 0));
    let folder = tar(Tar::default().folder("x", 0o755, owner).file("x/inner", "inner", mode, owner));
    let file = tar(Tar::default().file("x", "file", mode, owner));
    let names = Tar::default().file("x", "first", mode, owner).hardlink("y", "x", mode, owner);
    let names = tar(names.hardlink("z", "x", mode, owner));
    let web = Web::start();
    let placed = |first: &[u8], second: &[u8]| {
        web.page("/first.tar", first);
        let url = web.url("/first.tar");
        let project =
            project(&format!("FROM scratch\nCOPY old /d/x/old\nADD --unpack=true {url} second.tar /d/\n"));
        project.write("old", "old");
        project.write("second.tar", second);
        build(&project);
        image(&project)
    };
    let image = placed(&folder, &file);
    assert_eq!((image.text("d/x").as_str(), image.layers[1].join(" ").as_str()), ("file", "d d/x"));
    let image = placed(&file, &folder);
    assert_eq!((image.text("d/x/inner").as_str(), image.has("d/x/old")), ("inner", false));
    let image = placed(&names, &file);
    assert_eq!(["d/x", "d/y"].map(|path| image.text(path)), ["file", "first"]);
    assert_eq!(image.entry("d/z").kind, Kind::Hardlink("d/y".to_string()));
}

#[test]
fn servers_in_trouble_are_asked_again() {
    let web = Web::start();
    let body = "x".repeat(100_000);
    web.page("/f", &body).fault("/f", Fault::Status(503)).fault("/f", Fault::Cut(70_000));
    let project = project(&format!("FROM scratch\nADD {} /\n", web.url("/f")));
    build(&project);
    assert_eq!(web.requests().len(), 3);
    assert_eq!(image(&project).text("f"), body);
}

#[test]
fn a_broken_download_goes_on_where_it_was() {
    let body: String = (0..30_000).map(|number| format!("{number} ")).collect();
    let check = |etag: &str, expected: &[&str]| {
        let web = Web::start();
        web.page("/f", &body).header("/f", "ETag", etag);
        for bytes in [50_000, 20_000, 1] {
            web.fault("/f", Fault::Cut(bytes));
        }
        let project = project(&format!("FROM scratch\nADD {} /\n", web.url("/f")));
        build(&project);
        assert_eq!(web.requests(), expected);
        assert_eq!(image(&project).text("f"), body);
    };
    let rest = |from: usize| format!("GET /f range=bytes={from}- if-range=\"v1\"");
    check("\"v1\"", &["GET /f", &rest(50_000), &rest(70_000), &rest(70_001)]);
    check("W/\"v1\"", &["GET /f"; 4]);
}

#[test]
fn tokens_go_to_their_host_alone() {
    let (web, other) = (Web::start(), Web::start());
    other.page("/f", "text");
    web.redirect("/start", "/next").wants("/start", "Bearer secret-token");
    web.redirect("/next", &other.url("/f")).wants("/next", "Bearer secret-token");
    let file = format!("{FILE}secret = [{{ id = \"HTTP_AUTH_TOKEN_127.0.0.1\", env = \"TOKEN\" }}]\n");
    let project =
        Project::of(&file).file("Dockerfile", &format!("FROM scratch\nADD {} /\n", web.url("/start")));
    let ran = project.mab(&BUILD).with_env("TOKEN", "secret-token").run().succeeded();
    assert_eq!(
        web.requests(),
        ["GET /start authorization=Bearer secret-token", "GET /next authorization=Bearer secret-token"]
    );
    assert_eq!(other.requests(), ["GET /f"]);
    assert_eq!(image(&project).text("start"), "text");
    assert!(!(ran.stdout + &ran.stderr).contains("secret-token"));
    let grep = std::process::Command::new("grep").args(["-rl", "secret-token"]).arg(project.store()).output();
    assert_eq!(String::from_utf8_lossy(&grep.unwrap().stdout), "", "no secret in the store");
    project.mab(&BUILD).run().failed(4).says("was answered with status 401").says("HTTP_AUTH_TOKEN_HOST");
}

#[test]
fn what_cannot_be_fetched_says_where_and_why() {
    let web = Web::start();
    web.redirect("/loop", "/loop").redirect("/file", "file:///etc/passwd");
    for (path, code, message) in [
        ("/missing", 4, "/missing` was answered with status 404"),
        ("/loop", 4, "leads astray: more than 10 redirects"),
        ("/file", 4, "leads astray: to `file://`"),
    ] {
        let project = project(&format!("FROM scratch\n\nADD {} /\n", web.url(path)));
        project.mab(&BUILD).run().failed(code).says(message).says("Dockerfile:3");
    }
    let project = project("FROM scratch\nADD http://user:hunter2@127.0.0.1:1/f /\n");
    let ran = project
        .mab(&BUILD)
        .run()
        .failed(4)
        .says("cannot reach `127.0.0.1` for `http://xxxxx:xxxxx@127.0.0.1:1/f`");
    assert!(
        ran.says("the network").stderr.matches("hunter2").count() <= 1,
        "in the Dockerfile's own line alone"
    );
}
