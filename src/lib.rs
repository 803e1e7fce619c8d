//! `mab` builds container images for several platforms from one declarative file.

pub mod base;
pub mod diag;
pub mod oci;
pub mod pattern;
pub mod dockerfile;
pub mod event;
pub mod facts;
pub mod layer;
pub mod model;
pub mod store;
pub mod context;
pub mod registry;
pub mod steps;
pub mod config;
pub mod plan;
pub mod engine;
pub mod publish;
pub mod report;
pub mod ui;
pub mod run;
