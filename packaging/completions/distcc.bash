# Completions of distcc's programs for bash, with bash-completion. tests/completions.rs holds the words against the programs.

# The options of each program; a value follows those that end in =.
_distcc_options() { # PROGRAM
    case $1 in
    distcc) echo "--help --version --show-hosts --scan-includes -j" ;;
    try) echo "--plain --help" ;;
    why) echo "--json --help" ;;
    trace) echo "--output= --no-events --json --gap= --help" ;;
    pump) echo "--startup --shutdown --help" ;;
    doctor) echo "--json --time= --help" ;;
    top) echo "--once --plain --help" ;;
    distccmon-text) echo "--help" ;;
    lsdistcc) echo "-l -n -x -t -c -p -k -P -r -d -g -o -h -m -v" ;;
    update-distcc-symlinks) echo "--dir= --dry-run --list --remove --help" ;;
    distccd)
        echo "--config= --allow= --allow-private --compilers= --enable-tcp-insecure --make-me-a-botnet --jobs= --nice= \
            --port= --listen= --pid-file= --user= --daemon --inetd --no-detach --no-fork --no-fifo --log-file= --log-stderr \
            --log-level= --log-format= --verbose --lifetime= --job-lifetime= --sandbox= --show= --share= --job-memory= \
            --drain= --memory-floor= --memory-pressure= --oom-score-adj= --zeroconf --stats --stats-port= --stats-listen= \
            --stats-name= --wizard --version --help"
        ;;
    include_server)
        echo "--port= --pid_file= --debug_pattern= --statistics --time --verify --write_include_closure --no_force_dirs \
            --control-fd= --ready-fd= --email --no-email --email_bound= --path_observation_re= --stat_reset_triggers= \
            --unsafe_absolute_includes --unsafe_no_unexpanded_functions --exact_analysis --simple_algorithm --help"
        ;;
    esac
}

# The programs that distcc has as its first word.
_distcc_programs="distcc-include_server distcc-pump distccd distccmon-text doctor include_server lsdistcc pump top trace
    try update-distcc-symlinks why"

# The value of an option, if that is what stands under the cursor.
_distcc_value() { # OPTION
    case $1 in
    --log-level) COMPREPLY=($(compgen -W "error warning notice info debug" -- "$cur")) ;;
    --log-format) COMPREPLY=($(compgen -W "text json" -- "$cur")) ;;
    --sandbox) COMPREPLY=($(compgen -W "auto require off" -- "$cur")) ;;
    --user) COMPREPLY=($(compgen -u -- "$cur")) ;;
    --show | --share | --dir) _filedir -d ;;
    --config | --output | --log-file | --pid-file | --pid_file) _filedir ;;
    --port | --gap | --time | --allow | --compilers | --jobs | --nice | --listen | --lifetime | --job-lifetime | --job-memory | --drain | \
        --memory-floor | --memory-pressure | --oom-score-adj | --stats-port | --stats-listen | --stats-name | --debug_pattern | \
        --control-fd | --ready-fd | --email_bound | --path_observation_re | --stat_reset_triggers) COMPREPLY=() ;;
    *) return 1 ;;
    esac
}

# Completes the words of one program, whose name stands at that place of the line.
_distcc_program() { # PROGRAM PLACE
    local program=$1 place=$2 first=$(($2 + 1))
    program=${program#distcc-}
    if [[ $program == @(try|why|pump) ]]; then
        while [[ ${words[first]} == -* && $first -lt $cword ]]; do
            ((first++))
        done
    fi
    case $program in
    try | why | pump)
        # Behind their own options stands a command with completions of its own.
        if [[ $cword -gt $first || $cur != -* ]]; then
            _command_offset "$first"
            return
        fi
        ;;
    lsdistcc)
        if [[ $cur != -* ]]; then
            _known_hosts_real -- "$cur"
            return
        fi
        ;;
    *)
        local before=$prev
        [[ $before == = ]] && before=${words[cword - 2]}
        _distcc_value "$before" && return
        if [[ $program == trace && $cur != -* ]]; then
            _filedir
            return
        elif [[ $program == doctor && $cur != -* ]]; then
            _known_hosts_real -- "$cur"
            return
        fi
        ;;
    esac
    COMPREPLY=($(compgen -W "$(_distcc_options "$program")" -- "$cur"))
    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
}

_distcc() {
    local cur prev words cword split
    _init_completion -n : || return
    local name=${words[0]##*/}
    if [[ $name != distcc ]]; then
        _distcc_program "$name" 0
    elif ((cword == 1)); then
        COMPREPLY=($(compgen -W "$(_distcc_options distcc) $_distcc_programs \
            $("${words[0]}" update-distcc-symlinks --list 2>/dev/null)" -- "$cur"))
    elif [[ " ${_distcc_programs//$'\n'/ } " == *" ${words[1]} "* ]]; then
        _distcc_program "${words[1]}" 1
    elif [[ ${words[1]} == --scan-includes ]]; then
        _command_offset 2
    else
        # A compiler's command.
        _command_offset 1
    fi
}

complete -F _distcc distcc distcc-include_server distcc-pump distccd distccmon-text include_server lsdistcc pump \
    update-distcc-symlinks
