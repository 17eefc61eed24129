import { packageVersion } from '../lib/package-root.ts';
import type { Call } from './commands.ts';
import { Exit } from './failure.ts';
import { printData } from './output.ts';

/** Prints the versions in the two lines, or the JSON, that Dapr's own command prints. */
export async function version({ options }: Call): Promise<number> {
  const own = packageVersion();
  const versions = { 'Cli version': own, 'Runtime version': own };
  await printData(versions, options.text('output'), () => `CLI version: ${own} \nRuntime version: ${own}\n`);
  return Exit.done;
}
