//! Container images, made by umoci and moved by skopeo.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::content;
use crate::Node;

/// An image as a directory in the OCI layout.
pub struct Image {
    directory: PathBuf,
    layers: Vec<Layer>,
}

/// A layer as its manifest has it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// SHA-256 in hexadecimal, without `sha256:`.
    pub digest: String,
    /// In octets.
    pub size: u64,
}

/// Programs that make and move images.
pub const PROGRAMS: [&str; 3] = ["umoci", "skopeo", "tar"];

impl Image {
    /// An image with one layer of each size, in octets, in a new directory `NAME` of `parent`. Another
    /// `edition` of the same name has other content.
    pub fn make(parent: &Path, name: &str, edition: &str, sizes: &[usize]) -> Self {
        let files: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| (format!("layer{n}"), content(&format!("{name} {edition} {n}"), *size)))
            .collect();
        let layers: Vec<_> = files.iter().map(std::slice::from_ref).collect();
        Self::of(parent, name, &layers)
    }

    /// An image of these layers; each is a list of paths and contents.
    pub fn of(parent: &Path, name: &str, layers: &[&[(String, Vec<u8>)]]) -> Self {
        let directory = parent.join(name);
        let image = format!("{}:v1", directory.display());
        let layout = directory.to_str().expect("the lab's paths are plain");
        run("umoci", &["init", "--layout", layout]);
        run("umoci", &["new", "--image", &image]);
        for (n, files) in layers.iter().enumerate() {
            let root = parent.join(format!("{name}.{n}"));
            for (path, octets) in *files {
                let file = root.join(path);
                let within = file.parent().expect("a file lies in a directory");
                std::fs::create_dir_all(within).expect("the lab's directory is writable");
                std::fs::write(file, octets).expect("the lab's directory is writable");
            }
            let (root, tar) = (root.display().to_string(), format!("{}.tar", root.display()));
            // What is in it decides its digest, not when or by whom it was made.
            run("tar", &["-C", &root, "--mtime=@0", "--sort=name", "--mode=755", "-cf", &tar, "."]);
            run("umoci", &["raw", "add-layer", "--image", &image, "--history.created", EPOCH, &tar]);
        }
        let layers = read_layers(&directory);
        Self { directory, layers }
    }

    /// The layers in the order of the manifest.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// How skopeo and podman name the directory.
    pub fn source(&self) -> String {
        format!("oci:{}:v1", self.directory.display())
    }

    /// Pushes it from `node` to `host`'s registry as `reference`, for example `pause/pause:3.9`.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub fn push(&self, node: &Node, host: &str, reference: &str) {
        let output = self.try_push(node, host, reference);
        assert!(output.status.success(), "skopeo copy: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// As [`push`](Self::push), for a registry that may refuse.
    pub fn try_push(&self, node: &Node, host: &str, reference: &str) -> Output {
        let mut command = node.namespace().command("skopeo");
        command.args(["--insecure-policy", "--command-timeout", "20s", "copy", "--quiet"]);
        command.args(["--dest-tls-verify=false", &self.source()]);
        command.arg(format!("docker://{host}/{reference}"));
        command.output().expect("available() has found it")
    }
}

const EPOCH: &str = "1970-01-01T00:00:00Z";

fn read_layers(layout: &Path) -> Vec<Layer> {
    let json = |file: &Path| -> Value {
        let text = std::fs::read(file).unwrap_or_else(|e| panic!("cannot read {}: {e}", file.display()));
        serde_json::from_slice(&text).expect("umoci writes JSON")
    };
    let blob = |digest: &Value| {
        let digest = digest.as_str().and_then(|text| text.strip_prefix("sha256:"));
        digest.expect("umoci names blobs by SHA-256").to_owned()
    };
    let index = json(&layout.join("index.json"));
    let manifest = blob(&index["manifests"][0]["digest"]);
    let manifest = json(&layout.join("blobs/sha256").join(manifest));
    let layers = manifest["layers"].as_array().expect("a manifest has layers").iter();
    layers
        .map(|layer| Layer {
            digest: blob(&layer["digest"]),
            size: layer["size"].as_u64().expect("a layer has a size"),
        })
        .collect()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}
