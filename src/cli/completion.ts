import type { Call } from './commands.ts';
import { Exit, usage } from './failure.ts';

/** Each asks `dapr __complete` with the words so far, the last one being the one to complete. */
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_dapr() {
  local IFS=$'\\n'
  COMPREPLY=($(dapr __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o filenames -F _dapr dapr
`,
  zsh: `#compdef dapr
_dapr() {
  local -a found
  found=("\${(@f)$(dapr __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then compadd -- "\${found[@]}"; else _files; fi
}
compdef _dapr dapr
`,
  fish: `function __dapr_complete
  set -l words (commandline -opc) (commandline -ct)
  dapr __complete $words[2..-1] 2>/dev/null
end
complete -c dapr -a '(__dapr_complete)'
`,
  powershell: `Register-ArgumentCompleter -Native -CommandName dapr -ScriptBlock {
  param($word, $line, $position)
  $words = @($line.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
  if ($word -eq '') { $words += '""' }
  dapr __complete @words 2>$null | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
}
`,
};

/** Prints the script that makes a shell complete our commands. */
export async function completion({ operands }: Call): Promise<number> {
  const shells = Object.keys(SCRIPTS);
  const script = SCRIPTS[operands[0] ?? ''];
  if (script === undefined) throw usage(`for which shell? ${shells.join(', ')}`, 'source <(dapr completion bash)');
  process.stdout.write(script);
  return Exit.done;
}
