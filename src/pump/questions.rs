//! What a compiler is asked about its own operators, `__has_builtin(x)` and the like: the text that asks it, how its
//! output is read, and what is asked in advance, as one run answers hundreds of questions.

use std::collections::HashMap;

/// A question: operator and operand.
pub type Question = (Vec<u8>, Vec<u8>);

/// The values that are known; `None`: the compiler finds fault with the question.
pub type Values = HashMap<Question, Option<i64>>;

/// The operator of the question whether the operand, an operator itself, is known.
pub const DEFINED: &[u8] = b"defined";

/// Operators, and operands of which headers ask: those of Debian's C and C++ libraries, Boost, LLVM and the Linux kernel.
const ASKED: &[(&str, &str)] = &[
    (
        "__has_attribute",
        "__alloc_align__ __alloc_size__ __always_inline__ __artificial__ __assume_aligned__ __cold__ __const__ \
         __copy__ __counted_by__ __deprecated__ __designated_init__ __diagnose_as_builtin__ __error__ \
         __externally_visible__ __fallthrough__ __format__ __format_arg__ __indirect_return__ __malloc__ \
         __may_alias__ __naked__ __no_profile_instrument_function__ __no_sanitize_address__ __no_sanitize_undefined__ \
         __no_stack_protector__ __noclone__ __nonnull__ __nonstring__ __noreturn__ __nothrow__ __noscs__ __optimize__ \
         __overloadable__ __pass_dynamic_object_size__ __pass_object_size__ __pure__ __returns_nonnull__ __sentinel__ \
         __uninitialized__ __unused__ __used__ __warn_unused_result__ __warning__ access aligned alloc_size \
         always_inline assume_aligned cleanup cold const constructor copy counted_by counted_by_or_null deprecated \
         designated_init destructor diagnose_if disable_tail_calls enable_if enum_extensibility error ext_vector_type \
         externally_visible fallthrough flatten format gnu_inline guarded_by hot init_priority lifetimebound malloc \
         minsize musttail naked no_caller_saved_registers no_instrument_function no_profile_instrument_function \
         no_sanitize no_sanitize_address no_sanitize_thread no_sanitize_undefined no_stack_protector \
         no_thread_safety_analysis no_unique_address noclone nodebug nodiscard noescape noinline nonnull nonstring \
         noreturn optimize overloadable packed preferred_name preserve_most pure require_constant_initialization \
         returns_nonnull swift_name target tls_model transparent_union trivial_abi uninitialized unused used \
         vector_size visibility warn_unused_result warning weak",
    ),
    (
        "__has_builtin",
        "__atomic_fetch_add __atomic_load_n __builtin_FILE __builtin_FUNCTION __builtin_LINE __builtin_add_overflow \
         __builtin_addressof __builtin_alloca __builtin_assume __builtin_assume_aligned __builtin_bit_cast \
         __builtin_bitreverse16 __builtin_bitreverse32 __builtin_bitreverse64 __builtin_bitreverse8 \
         __builtin_bswap128 __builtin_bswap16 __builtin_bswap32 __builtin_bswap64 __builtin_choose_expr __builtin_clz \
         __builtin_clzll __builtin_constant_p __builtin_convertvector __builtin_ctz __builtin_ctzll \
         __builtin_debugtrap __builtin_dynamic_object_size __builtin_expect __builtin_expect_with_probability \
         __builtin_fclose __builtin_frame_address __builtin_ia32_rdtsc __builtin_is_constant_evaluated \
         __builtin_is_corresponding_member __builtin_is_pointer_interconvertible_with_class __builtin_isinf \
         __builtin_isnan __builtin_launder __builtin_memcmp __builtin_memcpy __builtin_memset __builtin_mul_overflow \
         __builtin_nan __builtin_object_size __builtin_operator_new __builtin_popcount __builtin_popcountll \
         __builtin_prefetch __builtin_readcyclecounter __builtin_return_address __builtin_rotateleft32 \
         __builtin_rotateleft64 __builtin_rotateright32 __builtin_rotateright64 __builtin_sadd_overflow \
         __builtin_shufflevector __builtin_smul_overflow __builtin_source_location __builtin_sprintf \
         __builtin_ssub_overflow __builtin_strcmp __builtin_strlen __builtin_sub_overflow __builtin_trap \
         __builtin_types_compatible_p __builtin_uadd_overflow __builtin_unreachable __builtin_va_copy \
         __c11_atomic_init __dmb __dsb __has_unique_object_representations __is_aggregate __is_layout_compatible \
         __is_pointer_interconvertible_base_of __is_same __isb __make_integer_seq __sev __sevl __sync_fetch_and_add \
         __sync_swap __sync_synchronize __type_pack_element __wfe __wfi __yield isinf",
    ),
    (
        "__has_c_attribute",
        "__fallthrough__ __nodiscard__ deprecated fallthrough maybe_unused nodiscard noreturn reproducible \
         unsequenced",
    ),
    (
        "__has_cpp_attribute",
        "__no_unique_address__ assume carries_dependency clang::fallthrough clang::lifetimebound clang::reinitializes \
         clang::require_constant_initialization clang::trivial_abi deprecated fallthrough gnu::always_inline \
         gnu::cold gnu::fallthrough gnu::hot gnu::noinline gnu::unused gsl::suppress likely maybe_unused \
         msvc::no_unique_address no_unique_address nodiscard noreturn scoped::attribute unlikely",
    ),
    (
        "__has_extension",
        "__attribute_deprecated_with_message__ __cxx_binary_literals__ attribute_analyzer_noreturn \
         attribute_deprecated_with_message attribute_unavailable_with_message blocks c_alignas c_atomic c_fixed_enum \
         c_generic_selections c_static_assert c_thread_local cxx_atomic cxx_fixed_enum cxx_rvalue_references \
         cxx_static_assert cxx_string_literal_templates cxx_strong_enums enumerator_attributes gnu_asm is_assignable \
         is_constructible is_convertible is_empty is_final is_trivially_assignable is_trivially_constructible \
         nullability objc_fixed_enum overloadable_unmarked pragma_clang_attribute_namespaces",
    ),
    (
        "__has_feature",
        "__cxx_aggregate_nsdmi__ __cxx_alias_templates__ __cxx_binary_literals__ __cxx_constexpr__ __cxx_decltype__ \
         __cxx_decltype_auto__ __cxx_deleted_functions__ __cxx_generic_lambdas__ __cxx_init_captures__ \
         __cxx_noexcept__ __cxx_nullptr__ __cxx_reference_qualified_functions__ __cxx_relaxed_constexpr__ \
         __cxx_return_type_deduction__ __cxx_rvalue_references__ __cxx_static_assert__ __cxx_variable_templates__ \
         __cxx_variadic_templates__ address_sanitizer assume_nonnull attribute_analyzer_noreturn \
         attribute_availability attribute_deprecated_with_message attribute_ext_vector_type blocks builtin_clz \
         c_alignas c_alignof c_atomic c_generic_selections c_static_assert c_thread_local coverage_sanitizer \
         cxx_alias_templates cxx_alignas cxx_attributes cxx_auto_type cxx_constexpr cxx_decltype \
         cxx_decltype_incomplete_return_types cxx_default_function_template_args cxx_defaulted_functions \
         cxx_delegating_constructors cxx_deleted_functions cxx_exceptions cxx_explicit_conversions \
         cxx_generalized_initializers cxx_inline_namespaces cxx_lambdas cxx_local_type_template_args cxx_noexcept \
         cxx_nullptr cxx_override_control cxx_range_for cxx_raw_string_literals cxx_reference_qualified_functions \
         cxx_rtti cxx_rvalue_references cxx_static_assert cxx_strong_enums cxx_thread_local cxx_trailing_return \
         cxx_unicode_literals cxx_unrestricted_unions cxx_user_literals cxx_variadic_templates dataflow_sanitizer \
         enumerator_attributes has_nothrow_assign has_nothrow_constructor has_nothrow_copy has_trivial_assign \
         has_trivial_constructor has_trivial_copy has_trivial_destructor has_trivial_move_assign \
         has_trivial_move_constructor has_virtual_destructor hwaddress_sanitizer is_abstract is_base_of is_class \
         is_convertible_to is_empty is_enum is_final is_nothrow_copy_assignable is_pod is_polymorphic \
         is_trivially_constructible is_trivially_copyable is_union kcfi leak_sanitizer memory_sanitizer modules \
         nullability objc_arc objc_arc_weak objc_generics objc_instancetype ptrauth_calls safe_stack \
         shadow_call_stack thread_sanitizer tls undefined_behavior_sanitizer",
    ),
    (
        "__has_warning",
        "\"-Wdeprecated-declarations\" \"-Wheader-hygiene\" \"-Wimplicit-fallthrough\" \"-Wregister\" \
         \"-Wsign-compare\"",
    ),
    (
        "__is_identifier",
        "__int64",
    ),
];

/// What is asked in advance: each operator whether it is known, and its operands.
pub fn in_advance() -> Vec<Question> {
    let mut questions = Vec::new();
    for (operator, operands) in ASKED {
        questions.push((DEFINED.to_vec(), operator.as_bytes().to_vec()));
        for operand in operands.split_ascii_whitespace() {
            let operand = operand.as_bytes().to_vec();
            questions.push((operator.as_bytes().to_vec(), operand));
        }
    }
    for operator in [
        "__building_module",
        "__has_include",
        "__has_include_next",
        "__has_embed",
    ] {
        questions.push((DEFINED.to_vec(), operator.as_bytes().to_vec()));
    }
    questions
}

/// Whether a question can be put into a line of its own without doing anything else.
pub fn can_be_asked((operator, operand): &Question) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let name = |word: &[u8]| !word.is_empty() && word.iter().all(is_name);
    let operator = if operator == DEFINED {
        &b"x"[..]
    } else {
        operator
    };
    let quoted = operand
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\');
    let operand = match quoted {
        Some(quoted) => quoted.iter().all(plain),
        None => operand
            .iter()
            .all(|byte| is_name(byte) || matches!(byte, b':' | b'.')),
    };
    name(operator) && operand
}

/// How many lines a question takes, and on which of them the compiler would find fault.
const LINES: usize = 3;

/// What the output ends in, if all of it is there.
const END: &[u8] = b"distcc_values_end";

/// The source that asks all questions, for `cc -E`.
pub fn source(questions: &[Question]) -> Vec<u8> {
    let mut text = Vec::with_capacity(64 * questions.len());
    for (number, (operator, operand)) in questions.iter().enumerate() {
        let [asked, value]: [&[u8]; 2] = match operator == DEFINED {
            true => [operand, b"1"],
            false => [operator, b""],
        };
        let line = format!("distcc_value_{number} ");
        text.extend_from_slice(b"#ifdef ");
        text.extend_from_slice(asked);
        text.push(b'\n');
        text.extend_from_slice(line.as_bytes());
        match value {
            b"" => text.extend_from_slice(&[operator, &b"("[..], operand, b")"].concat()),
            value => text.extend_from_slice(value),
        }
        text.extend_from_slice(b"\n#endif\n");
    }
    text.extend_from_slice(END);
    text.push(b'\n');
    text
}

/// Reads what the compiler wrote, and takes what it found fault with from its messages about `<stdin>`. None if it did not
/// write to the end: what is missing then is not unknown to it.
pub fn values(questions: &[Question], output: &[u8], messages: &[u8]) -> Option<Values> {
    if !output.trim_ascii_end().ends_with(END) {
        return None;
    }
    let mut values: Values = HashMap::with_capacity(questions.len());
    for question in questions {
        // What is not known is not there.
        values.insert(question.clone(), Some(0));
    }
    for line in output.split(|byte| *byte == b'\n') {
        if let Some((number, value)) = value(line) {
            if let Some(question) = questions.get(number) {
                values.insert(question.clone(), value);
            }
        }
    }
    for line in messages.split(|byte| *byte == b'\n') {
        let fault = fault(line).and_then(|line| questions.get((line - 1) / LINES));
        if let Some(question) = fault {
            values.insert(question.clone(), None);
        }
    }
    Some(values)
}

/// `distcc_value_NUMBER VALUE`; a value that is no number is none.
fn value(line: &[u8]) -> Option<(usize, Option<i64>)> {
    let text = std::str::from_utf8(line).ok()?;
    let rest = text.trim().strip_prefix("distcc_value_")?;
    let (number, value) = rest.split_once(' ').unwrap_or((rest, ""));
    let value = value.trim().trim_end_matches(['L', 'l', 'U', 'u']);
    Some((number.parse().ok()?, value.parse().ok()))
}

/// The number of the line of which a message says that it is faulty.
fn fault(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?;
    let rest = text.strip_prefix("<stdin>:")?;
    let number = rest.split(':').next()?.parse().ok()?;
    (rest.contains(" error:") && number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(operator: &str, operand: &str) -> Question {
        (operator.as_bytes().to_vec(), operand.as_bytes().to_vec())
    }

    #[test]
    fn questions_have_a_line_of_their_own() {
        for (operator, operand, can) in [
            ("__has_builtin", "__builtin_expect", true),
            ("__has_cpp_attribute", "gnu::unused", true),
            ("__has_warning", "\"-Wall\"", true),
            ("defined", "__has_builtin", true),
            ("__has_builtin", "a)\n#include \"b\"\n(", false),
            ("__has_warning", "\"a\"b\"", false),
            ("a b", "c", false),
            ("", "c", false),
        ] {
            assert_eq!(can_be_asked(&question(operator, operand)), can, "{operand}");
        }
        assert!(in_advance().iter().all(can_be_asked));
        let lines = source(&in_advance());
        let lines = lines.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, LINES * in_advance().len() + 1);
    }

    #[test]
    fn values_are_read() {
        let questions = [
            question("defined", "__has_builtin"),
            question("__has_cpp_attribute", "nodiscard"),
            question("__has_attribute", "gnu::unused"),
            question("__has_feature", "x"),
            question("__has_builtin", "odd"),
        ];
        let output = b"# 1 \"<stdin>\"\ndistcc_value_0 1\n\ndistcc_value_1 201907L\ndistcc_value_2 0\ndistcc_value_4 a b\ndistcc_value_99 1\ndistcc_values_end\n";
        let messages =
            b"<stdin>:8:23: error: missing ')'\n<stdin>:1:1: warning: x\n<stdin>:0: error: x\n";
        let cut = &output[..output.len() - 2];
        assert_eq!(values(&questions, cut, messages), None);
        let values = values(&questions, output, messages).unwrap_or_default();
        let expected = [Some(1), Some(201_907), None, Some(0), None];
        for (question, value) in questions.iter().zip(expected) {
            assert_eq!(values.get(question), Some(&value), "{question:?}");
        }
    }
}
