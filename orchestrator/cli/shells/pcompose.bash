# bash completion for pcompose:  source <(pcompose completion bash)
_pcompose() {
    local typed=${COMP_WORDS[COMP_CWORD]} line
    COMPREPLY=()
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        if [[ $line == :files ]]; then
            compopt -o default 2>/dev/null
            continue
        fi
        [[ $line == *[:=] ]] && compopt -o nospace 2>/dev/null
        # what stands before a colon or an equals sign is a word of its own to bash
        [[ $typed != *[:=]* && $COMP_WORDBREAKS == *[:=]* ]] || line=${line##*[:=]}
        COMPREPLY+=("$line")
    done < <(pcompose __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _pcompose pcompose
