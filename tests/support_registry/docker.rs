//! Debian's `docker-registry` on a free port, with its storage in a folder.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running registry; stopped when dropped. Lets in `me` with the password `secret`.
pub struct DockerRegistry {
    process: Child,
    address: String,
}

impl DockerRegistry {
    /// `None` where it is not installed, which under CI is a failure.
    pub fn start(folder: &Path) -> Option<Self> {
        let root = folder.display();
        // `me:secret`, hashed by bcrypt at its lowest cost.
        let password = "me:$2b$04$95M.ajdP1cO.SR6D0ohfKOVHt1wLKqo1ZP2XC45g3YD5ZRTjL7nae\n";
        std::fs::write(folder.join("htpasswd"), password).unwrap();
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {root}/storage\n\
             http:\n  addr: 127.0.0.1:0\nauth:\n  htpasswd:\n    realm: test\n    path: {root}/htpasswd\n"
        );
        std::fs::write(folder.join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(folder.join("config.yml")).stdout(Stdio::null()).stderr(Stdio::piped());
        let Ok(mut process) = command.spawn() else {
            assert!(std::env::var_os("CI").is_none(), "docker-registry is not installed");
            eprintln!("skipped: docker-registry is not installed");
            return None;
        };
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "docker-registry ended");
        }
        let address = line.split("listening on ").nth(1).unwrap();
        let address = address.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        // Read on, or the registry blocks on a full pipe.
        std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Some(Self { process, address })
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
