//! `mab` builds container images for several platforms from one declarative file.
//!
//! # The way of a build
//!
//! ```text
//! multiarch.toml ─ config ─▶ model ─┐
//! git, host, environment ─ facts ───┴─ plan ─▶ graph ─ run ─▶ engine ─▶ store ─▶ publish
//!                                                       └─ events ─▶ ui, report
//! ```
//!
//! [`command::bake`] is the whole of it: `config` reads the file to a [`model::Project`], [`plan::compile`]
//! makes a graph of nodes (resolve a base, build for a platform, verify, merge, publish), and [`run::run`] works
//! it off. A build node lowers its Dockerfile with [`steps::lower`], makes a key of what that reads
//! ([`plan::node_key`]), and only if the store knows no image of that key hands a [`engine::BuildJob`] to
//! the engine. That solves step by step, each under a key of its own: COPY, ADD and WORKDIR write layers
//! straight from their sources, RUN works in a sandbox. The verify node judges the image with [`verify::judge`], from what
//! [`scan`] found in its files while they were written. The merge node joins the platforms' images, and
//! the publish node, which waits for every merge, moves tags last.
//!
//! # Reading order
//!
//! The modules below stand in the order of their ranks, which is a good order to read them in: each
//! imports only what stands above it. `tests/architecture.rs` holds the table. In half an hour:
//! [`model`], `plan/node.rs`, `steps/op.rs`, `run/schedule.rs`, `run/build.rs`, `engine/embedded/solve.rs`.
//!
//! # Who owns which file
//!
//! `store` owns everything below the store's folder and draws it in its header: blobs as an OCI layout,
//! keys, indexes of layers, unpacked trees, locks. `engine::embedded::sandbox` alone writes into unpacked
//! trees, since their files may belong to ids that only a user namespace has. `context` only reads.
//! `publish` writes what outputs name, under a temporary name first. `multiarch.lock` is written by
//! [`command::lock`] alone.

pub mod base;
pub mod diag;
pub mod oci;

pub mod pattern;
pub mod scan;

pub mod dockerfile;
pub mod event;
pub mod facts;
pub mod http;
pub mod layer;
pub mod lock;
pub mod model;
pub mod store;

pub mod context;
pub mod dial;
pub mod registry;
pub mod source;
pub mod steps;
pub mod tagging;

pub mod cache;
pub mod config;
pub mod docker;
pub mod plan;
pub mod verify;

pub mod ci;
pub mod engine;
pub mod image;
pub mod k8s;
pub mod lint;
pub mod publish;
pub mod report;
pub mod ui;

pub mod doctor;
pub mod transfer;

pub mod run;

pub mod command;

pub mod cli;
