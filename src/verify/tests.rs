//! Names of architectures, which decide what is a stranger.

use super::names::{is_triplet, mentioned, neutral, without_architecture};

#[test]
fn architectures_are_words_of_their_own() {
    let check = |text: &str, architecture: &str, expected: Option<&str>| {
        assert_eq!(mentioned(text, architecture), expected, "{text}");
    };
    check("curl -LO https://x.test/tool-linux-amd64.tar.gz", "amd64", Some("amd64"));
    check("node-v20.1.0-linux-x64.tar.xz", "amd64", Some("x64"));
    check("Miniconda3-latest-Linux-x86_64.sh", "amd64", Some("x86_64"));
    check("Linux_X86_64", "amd64", Some("x86_64"));
    check("x86_64", "386", None);
    check("linux-x86.zip", "386", Some("x86"));
    check("max64 army disarm alarm64", "amd64", None);
    check("army alarm", "arm", None);
    check("tool_arm64", "arm", None);
    check("gnueabihf/armv7l", "arm", Some("armv7l"));
    check("linux/arm64/v8", "arm64", Some("arm64"));
}

#[test]
fn toolchains_name_their_architecture_first() {
    for (component, architecture) in [
        ("aarch64-linux-gnu", "arm64"),
        ("arm-linux-gnueabihf", "arm"),
        ("arm-none-eabi", "arm"),
        ("armv7-unknown-linux-musleabihf", "arm"),
        ("riscv64gc-unknown-linux-gnu", "riscv64"),
        ("x86_64-unknown-linux-gnu", "amd64"),
    ] {
        assert!(is_triplet(component, architecture), "{component}");
    }
    for (component, architecture) in [
        ("linux-arm64", "arm64"),
        ("stable-x86_64-unknown-linux-gnu", "amd64"),
        ("arm64", "arm64"),
        ("arm-tools", "arm"),
    ] {
        assert!(!is_triplet(component, architecture), "{component}");
    }
}

#[test]
fn names_are_compared_without_their_architecture() {
    let bare = |name, architecture| without_architecture(name, architecture);
    assert_eq!(bare("linux-x64", "amd64"), Some(String::new()));
    assert_eq!(bare("android-arm", "arm"), Some(String::new()));
    assert_eq!(bare("agent-linux-amd64", "amd64"), Some("agent-linux-".to_string()));
    assert_eq!(bare("agent-linux-arm64", "arm64"), Some("agent-linux-".to_string()));
    assert_eq!(bare("agent", "arm64"), None);
    assert_eq!(neutral("/usr/lib/x86_64-linux-gnu/x64", "amd64"), "/usr/lib/ARCH-linux-gnu/ARCH");
    assert_eq!(neutral("/opt/alarm", "arm"), "/opt/alarm");
    assert_eq!(neutral("/usr/bin/perl5-arm-linux-gnueabihf", "arm"), "/usr/bin/perl5-ARCH-linux-gnu");
}
