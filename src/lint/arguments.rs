//! The automatic platform arguments.

/// What every build knows of the platform it is for, and of the one it runs on.
pub(super) const PLATFORM_ARGUMENTS: [&str; 10] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETOSVERSION",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "BUILDOSVERSION",
];

pub(super) fn is_platform_argument(name: &str) -> bool {
    PLATFORM_ARGUMENTS.contains(&name)
}

/// The arguments that differ between the platforms of one build.
pub(super) fn is_target_argument(name: &str) -> bool {
    is_platform_argument(name) && name.starts_with("TARGET")
}
