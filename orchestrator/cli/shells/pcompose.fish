# fish completion for pcompose:  pcompose completion fish | source
function __pcompose_complete
    set -l typed (commandline -ct)
    for line in (pcompose __complete (commandline -opc)[2..] "$typed" 2>/dev/null)
        if test "$line" = ":files"; or string match -q ":files*" -- $line
            __fish_complete_path "$typed"
        else
            printf '%s\n' $line
        end
    end
end
complete -c pcompose -f -a '(__pcompose_complete)'
