//! Every rule there is, in the order in which they are listed.

mod arch_cache_mount;
mod arg_not_in_stage;
mod arg_shadowed;
mod args_shadow_platform;
mod base_misses_platform;
mod checksum_per_arch;
mod consistent_instruction_casing;
mod const_platform;
mod copy_ignored_file;
mod duplicate_stage_name;
mod emulated_compile;
mod expose_invalid_format;
mod expose_proto_casing;
mod floating_tag;
mod from_as_casing;
mod from_platform_flag_const_disallowed;
mod hard_coded_arch;
mod host_artifact_in_target;
mod host_install_in_target;
mod invalid_base_image_platform;
mod invalid_default_arg_in_from;
mod invalid_definition_description;
mod json_args_recommended;
mod legacy_key_value_format;
mod maintainer_deprecated;
mod multiple_instructions_disallowed;
mod name_mapping;
mod no_empty_continuation;
mod redundant_platform;
mod redundant_target_platform;
mod reserved_stage_name;
mod run_in_scratch_foreign;
mod secrets_used_in_arg_or_env;
mod shell_missing;
mod stage_name_casing;
mod uname_for_target;
mod undefined_arg_in_from;
mod undefined_var;
mod variant_drop;
mod workdir_relative_path;

use super::rule::Rule;

/// BuildKit's rules first, then those of images for several platforms.
pub const RULES: [&Rule; 40] = [
    &consistent_instruction_casing::RULE,
    &copy_ignored_file::RULE,
    &duplicate_stage_name::RULE,
    &expose_invalid_format::RULE,
    &expose_proto_casing::RULE,
    &from_as_casing::RULE,
    &from_platform_flag_const_disallowed::RULE,
    &invalid_base_image_platform::RULE,
    &invalid_default_arg_in_from::RULE,
    &invalid_definition_description::RULE,
    &json_args_recommended::RULE,
    &legacy_key_value_format::RULE,
    &maintainer_deprecated::RULE,
    &multiple_instructions_disallowed::RULE,
    &no_empty_continuation::RULE,
    &redundant_target_platform::RULE,
    &reserved_stage_name::RULE,
    &secrets_used_in_arg_or_env::RULE,
    &stage_name_casing::RULE,
    &undefined_arg_in_from::RULE,
    &undefined_var::RULE,
    &workdir_relative_path::RULE,
    &arch_cache_mount::RULE,
    &arg_not_in_stage::RULE,
    &arg_shadowed::RULE,
    &args_shadow_platform::RULE,
    &base_misses_platform::RULE,
    &checksum_per_arch::RULE,
    &const_platform::RULE,
    &emulated_compile::RULE,
    &floating_tag::RULE,
    &hard_coded_arch::RULE,
    &host_artifact_in_target::RULE,
    &host_install_in_target::RULE,
    &name_mapping::RULE,
    &redundant_platform::RULE,
    &run_in_scratch_foreign::RULE,
    &shell_missing::RULE,
    &uname_for_target::RULE,
    &variant_drop::RULE,
];
