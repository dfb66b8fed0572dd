# Completions of distcc's programs for fish. tests/completions.rs holds the words against the programs.

function __distcc_first
    # Whether the program under the cursor is this one: by its own name, or as distcc's first word.
    set -l words (commandline -opc)
    set -l name (string split -r -m 1 / -- $words[1])[-1]
    contains -- $name $argv; and return 0
    test "$name" = distcc; and contains -- "$words[2]" $argv
end

function __distcc_command
    # What follows a program that takes a command: that command's own completions.
    set -l words (commandline -opc) (commandline -ct)
    set -e words[1]
    while set -q words[1]; and string match -qr -- '^-|^(try|why|pump)$' $words[1]
        set -e words[1]
    end
    complete -C "$(string escape -- $words | string join ' ')"
end

set -l programs distcc-include_server distcc-pump distccd distccmon-text doctor include_server lsdistcc pump top trace try update-distcc-symlinks why

set -l first 'test (count (commandline -opc)) -eq 1'
complete -c distcc -f
complete -c distcc -n $first -l help -d 'How distcc is used'
complete -c distcc -n $first -l version -d 'Version and licence'
complete -c distcc -n $first -l show-hosts -d 'The host list'
complete -c distcc -n $first -l scan-includes -d 'What pump mode would send for a compile'
complete -c distcc -n $first -s j -d 'How many jobs the hosts take at once'
complete -c distcc -n $first -a distcc-include_server -d 'Answer which files a compile needs'
complete -c distcc -n $first -a distcc-pump -d 'Build in pump mode'
complete -c distcc -n $first -a distccd -d 'The daemon'
complete -c distcc -n $first -a distccmon-text -d 'What runs where now'
complete -c distcc -n $first -a doctor -d 'What is wrong here and on the hosts, and how to mend it'
complete -c distcc -n $first -a include_server -d 'Answer which files a compile needs'
complete -c distcc -n $first -a lsdistcc -d 'Which hosts answer'
complete -c distcc -n $first -a pump -d 'Build in pump mode'
complete -c distcc -n $first -a top -d 'What runs where, live'
complete -c distcc -n $first -a trace -d 'Where the time of a build went'
complete -c distcc -n $first -a try -d 'Build with a private daemon, and say how it went'
complete -c distcc -n $first -a update-distcc-symlinks -d 'Keep the masquerade directory as the compilers are'
complete -c distcc -n $first -a why -d 'What would become of a command, and why'
complete -c distcc -n $first -a '(distcc update-distcc-symlinks --list 2>/dev/null)' -d Compiler
# A compiler's command.
complete -c distcc -n "not $first; and not __distcc_first $programs" -a '(__distcc_command)'

complete -c distcc -n 'not test (count (commandline -opc)) -eq 1; and __distcc_first try why pump distcc-pump' -a '(__distcc_command)'
complete -c pump -c distcc-pump -f -a '(__distcc_command)'

for program in distcc distcc-pump pump
    complete -c $program -n '__distcc_first pump distcc-pump' -l startup -d 'Start an include server that goes on'
    complete -c $program -n '__distcc_first pump distcc-pump' -l shutdown -d 'End it'
    complete -c $program -n '__distcc_first pump distcc-pump' -l help -d 'Explain'
end

complete -c distcc -n '__distcc_first try' -l plain -d 'Preprocess here'
complete -c distcc -n '__distcc_first try' -l help -d 'Explain'
complete -c distcc -n '__distcc_first why' -l json -d 'Say it as JSON'
complete -c distcc -n '__distcc_first why' -l help -d 'Explain'

set -l is '__distcc_first doctor'
complete -c distcc -n $is -a '(__fish_print_hostnames)'
complete -c distcc -n $is -l json -d 'Findings as JSON'
complete -c distcc -n $is -l time -x -d 'How long a host is asked at most'
complete -c distcc -n $is -l help -d 'Explain'

set -l is '__distcc_first top'
complete -c distcc -n $is -l once -d 'Look once, and print plain lines'
complete -c distcc -n $is -l plain -d 'Print plain lines also on a terminal'
complete -c distcc -n $is -l help -d 'Explain'

set -l is '__distcc_first trace'
complete -c distcc -F -n $is
complete -c distcc -n $is -s o -l output -r -F -d 'Write the data of the picture there'
complete -c distcc -n $is -l no-events -d 'Write none'
complete -c distcc -n $is -l json -d 'Say it as JSON'
complete -c distcc -n $is -l gap -x -d 'A build ends where nothing runs for so long'
complete -c distcc -n $is -l help -d 'Explain'

for program in distcc distccmon-text
    complete -c $program -n '__distcc_first distccmon-text' -l help -d 'Explain'
end

for program in distcc lsdistcc
    set -l is '__distcc_first lsdistcc'
    complete -c $program -f -n $is -a '(__fish_print_hostnames)'
    complete -c $program -n $is -s l -d 'Append how long the answer took'
    complete -c $program -n $is -s n -d 'Print addresses'
    complete -c $program -n $is -s x -d 'Print hosts that do not answer, too'
    complete -c $program -n $is -s t -x -d 'Stop after so many seconds'
    complete -c $program -n $is -s c -x -d 'How many milliseconds a connection may take'
    complete -c $program -n $is -s p -x -d 'Compile a line with this compiler'
    complete -c $program -n $is -s k -x -d 'How many milliseconds that may take'
    complete -c $program -n $is -s P -x -a '1 2 3' -d 'Protocol'
    complete -c $program -n $is -s r -x -d 'Port'
    complete -c $program -n $is -s d -d 'Append the domain'
    complete -c $program -n $is -s g -x -d 'How many names may have no address'
    complete -c $program -n $is -s o -x -d 'How many names are looked up ahead'
    complete -c $program -n $is -s h -x -d 'When to ask again for an address'
    complete -c $program -n $is -s m -x -d 'Addresses that begin with the same bits'
    complete -c $program -n $is -s v -d 'Say what happens'
end

for program in distcc update-distcc-symlinks
    set -l is '__distcc_first update-distcc-symlinks'
    complete -c $program -n $is -l dir -x -a '(__fish_complete_directories)' -d 'The masquerade directory'
    complete -c $program -n $is -l dry-run -d 'Say what would be done'
    complete -c $program -n $is -l list -d 'Print the names of the compilers'
    complete -c $program -n $is -l remove -d 'Remove all links'
    complete -c $program -n $is -l help -d 'Explain'
end

for program in distcc distccd
    set -l is '__distcc_first distccd'
    complete -c $program -n $is -l config -r -F -d 'Read more options from this file'
    complete -c $program -n $is -s a -l allow -x -d 'Who may connect'
    complete -c $program -n $is -l allow-private -d 'Let all private networks connect'
    complete -c $program -n $is -l compilers -x -d 'Compilers that may run'
    complete -c $program -n $is -l enable-tcp-insecure -d 'Let clients run any program as compiler'
    complete -c $program -n $is -l make-me-a-botnet -d 'The same, by its honest name'
    complete -c $program -n $is -s j -l jobs -x -d 'How many jobs run at once'
    complete -c $program -n $is -s N -l nice -x -d 'Lower the priority by so much'
    complete -c $program -n $is -s p -l port -x -d 'Listen on this port'
    complete -c $program -n $is -l listen -x -d 'Listen on this address only'
    complete -c $program -n $is -s P -l pid-file -r -F -d 'Write the process id to this file'
    complete -c $program -n $is -l user -x -a '(__fish_complete_users)' -d 'Whom to run as'
    complete -c $program -n $is -l daemon -d 'Listen for connections'
    complete -c $program -n $is -l inetd -d 'Serve one job on standard input and output'
    complete -c $program -n $is -l no-detach -d 'Stay in the foreground'
    complete -c $program -n $is -l no-fork -d 'One job at a time'
    complete -c $program -n $is -l no-fifo -d 'Without effect'
    complete -c $program -n $is -l log-file -r -F -d 'Append the log to this file'
    complete -c $program -n $is -l log-stderr -d 'Write the log to standard error'
    complete -c $program -n $is -l log-level -x -a 'error warning notice info debug' -d 'How much to say'
    complete -c $program -n $is -l log-format -x -a 'text json' -d 'How lines of the log look'
    complete -c $program -n $is -l verbose -d 'Say everything'
    complete -c $program -n $is -l lifetime -x -d 'End after so many seconds'
    complete -c $program -n $is -l job-lifetime -x -d 'End a job after so many seconds'
    complete -c $program -n $is -l sandbox -x -a 'auto require off' -d 'How compilers are kept to their jobs'
    complete -c $program -n $is -l show -x -a '(__fish_complete_directories)' -d 'Let jobs read this folder, too'
    complete -c $program -n $is -l share -x -a '(__fish_complete_directories)' -d 'Let jobs read and change this folder'
    complete -c $program -n $is -l job-memory -x -d 'Most memory for each process of a job'
    complete -c $program -n $is -l drain -x -d 'How long running jobs may take at the end'
    complete -c $program -n $is -l memory-floor -x -d 'One job at a time while fewer megabytes are left'
    complete -c $program -n $is -l memory-pressure -x -d 'One job at a time while memory is waited for'
    complete -c $program -n $is -l oom-score-adj -x -d 'How readily the system ends us'
    complete -c $program -n $is -l zeroconf -d 'Tell the local network of this daemon'
    complete -c $program -n $is -l stats -d 'Tell over HTTP what is done'
    complete -c $program -n $is -l stats-port -x -d 'The port for that'
    complete -c $program -n $is -l stats-listen -x -d 'The address for that'
    complete -c $program -n $is -l stats-name -x -d 'A name by which browsers may ask for that'
    complete -c $program -n $is -s W -l wizard -d 'For looking at a problem'
    complete -c $program -n $is -l version -d 'Show the version'
    complete -c $program -n $is -l help -d 'Show the options'
end

for program in distcc include_server distcc-include_server
    set -l is '__distcc_first include_server distcc-include_server'
    complete -c $program -n $is -l port -r -F -d 'The socket'
    complete -c $program -n $is -l pid_file -r -F -d 'Write the process id there'
    complete -c $program -n $is -s d -l debug_pattern -x -d 'What to say'
    complete -c $program -n $is -s s -l statistics -d 'Print what each request cost'
    complete -c $program -n $is -s t -l time -d 'Print how long it took'
    complete -c $program -n $is -s v -l verify -d 'Compare with the list of the compiler'
    complete -c $program -n $is -s w -l write_include_closure -d 'Write the list of files'
    complete -c $program -n $is -l no_force_dirs -d 'Do not send what only makes folders'
    complete -c $program -n $is -l control-fd -x -d 'End when the other end is closed'
    complete -c $program -n $is -l ready-fd -x -d 'Tell there when started'
    complete -c $program -n $is -s e -l email -d 'Without effect'
    complete -c $program -n $is -l no-email -d 'Without effect'
    complete -c $program -n $is -l email_bound -x -d 'Without effect'
    complete -c $program -n $is -l path_observation_re -x -d 'Without effect'
    complete -c $program -n $is -l stat_reset_triggers -x -d 'Without effect'
    complete -c $program -n $is -l unsafe_absolute_includes -d 'Without effect'
    complete -c $program -n $is -l unsafe_no_unexpanded_functions -d 'Without effect'
    complete -c $program -n $is -s x -l exact_analysis -d 'Without effect'
    complete -c $program -n $is -l simple_algorithm -d 'Without effect'
    complete -c $program -n $is -l help -d 'Explain'
end
