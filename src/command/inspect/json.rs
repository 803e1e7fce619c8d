//! An image as JSON, which templates see as well.

use serde_json::{Map, Value, json};

use super::Inspected;
use crate::image::{Content, Image, Node};
use crate::oci::Descriptor;

/// Everything has every member, so that templates need not ask.
pub(super) fn json(inspected: &Inspected) -> Value {
    let Inspected { name, tree, referrers, .. } = inspected;
    let root = &tree.root;
    let images: Vec<Value> = tree.images().into_iter().map(|node| image_json(inspected, node)).collect();
    let platforms: Vec<&Value> =
        images.iter().map(|image| &image["platform"]).filter(|it| !it.is_null()).collect();
    let others = tree.nodes().into_iter().filter(|node| matches!(node.content, Content::Other));
    let referrers: Vec<Value> = referrers
        .iter()
        .flat_map(|(subject, found)| found.iter().map(move |descriptor| referrer_json(descriptor, subject)))
        .collect();
    json!({
        "name": name.to_string(),
        "digest": root.descriptor.digest.to_string(),
        "media-type": root.descriptor.media_type,
        "size": root.descriptor.size,
        "content-size": content_size(root.below()),
        "annotations": annotations(root),
        "platforms": platforms,
        "images": images,
        "indexes": tree.nodes().iter().filter(|node| is_inner_index(node, root)).map(|node| json!({
            "digest": node.descriptor.digest.to_string(),
            "media-type": node.descriptor.media_type,
            "annotations": node.descriptor.annotations,
        })).collect::<Vec<_>>(),
        "others": others.map(|node| descriptor_json(&node.descriptor)).collect::<Vec<_>>(),
        "referrers": referrers,
    })
}

fn is_inner_index(node: &Node, root: &Node) -> bool {
    matches!(node.content, Content::Index(..)) && node.descriptor.digest != root.descriptor.digest
}

fn content_size(nodes: Vec<&Node>) -> u64 {
    nodes.iter().filter_map(|node| node.manifest()).map(crate::oci::Manifest::content_size).sum()
}

/// What the document itself says, which an index may say besides.
fn annotations(node: &Node) -> Value {
    match &node.content {
        Content::Index(index, _) => json!(index.annotations),
        Content::Manifest(manifest) => json!(manifest.annotations),
        Content::Missing | Content::Other => json!({}),
    }
}

fn image_json(inspected: &Inspected, node: &Node) -> Value {
    let descriptor = &node.descriptor;
    let image = inspected.images.get(&descriptor.digest);
    let platform = descriptor.platform().or_else(|| image.map(|image| image.config.platform()));
    let attestations = inspected.tree.attestations(&descriptor.digest);
    let mut value = json!({
        "platform": platform.map(|platform| platform.to_string()),
        "digest": descriptor.digest.to_string(),
        "media-type": descriptor.media_type,
        "size": descriptor.size,
        "annotations": annotations(node),
        "index-annotations": descriptor.annotations,
        "attestations": attestations.into_iter().map(attestation_json).collect::<Vec<_>>(),
        "is-missing": matches!(node.content, Content::Missing),
    });
    let object = value.as_object_mut().expect("it is written as an object");
    if let Some(manifest) = node.manifest() {
        object.insert("content-size".into(), json!(manifest.content_size()));
        object.insert("artifact-type".into(), json!(manifest.artifact_type));
        object.insert("config-digest".into(), json!(manifest.config.digest.to_string()));
        let layers = manifest.layers.iter().map(descriptor_json).collect::<Vec<_>>();
        object.insert("layers".into(), json!(layers));
    }
    if let Some(image) = image {
        add_config(object, image);
    }
    value
}

fn add_config(object: &mut Map<String, Value>, image: &Image) {
    // As it is written, with what nobody knows.
    let config = serde_json::from_slice::<Value>(&image.config_bytes).unwrap_or_default();
    object.insert("config".into(), config);
}

fn attestation_json(node: &Node) -> Value {
    let statements = node.manifest().map(|manifest| manifest.layers.as_slice()).unwrap_or_default();
    let statements = statements.iter().map(|statement| {
        json!({
            "predicate": statement.annotations.get(super::text::PREDICATE),
            "media-type": statement.media_type,
            "digest": statement.digest.to_string(),
            "size": statement.size,
        })
    });
    json!({
        "digest": node.descriptor.digest.to_string(),
        "size": node.descriptor.size,
        "statements": statements.collect::<Vec<_>>(),
    })
}

fn descriptor_json(descriptor: &Descriptor) -> Value {
    json!({
        "media-type": descriptor.media_type,
        "digest": descriptor.digest.to_string(),
        "size": descriptor.size,
        "annotations": descriptor.annotations,
    })
}

fn referrer_json(descriptor: &Descriptor, subject: &crate::base::Digest) -> Value {
    let mut value = descriptor_json(descriptor);
    value["subject"] = json!(subject.to_string());
    value["artifact-type"] = json!(descriptor.artifact_type);
    value
}
