import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['gen/', 'dist/', 'node_modules/', '.cache/', 'examples/express/'] },
  ...tseslint.configs.recommended,
  {
    rules: {
      complexity: ['error', 12],
      'max-lines': ['error', 350],
      'max-lines-per-function': ['error', { max: 60, skipComments: true }],
      'no-console': 'error',
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'named exports only' },
        {
          selector: "MemberExpression[object.name='process'][property.name='env']",
          message: 'the environment is read in config/flags.ts and cli/environment.ts',
        },
      ],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  {
    // A promise that nobody waits for is how a message gets lost: say `void` where it is meant.
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: { '@typescript-eslint/no-floating-promises': 'error', '@typescript-eslint/await-thenable': 'error' },
  },
  {
    files: ['src/cli/**', 'src/dapr.ts', 'src/daprd.ts'],
    rules: { 'no-console': 'off', 'max-lines-per-function': ['error', { max: 120 }] },
  },
  {
    files: ['src/cli/environment.ts', 'src/config/flags.ts', 'src/dapr.ts', 'src/daprd.ts'],
    rules: { 'no-restricted-syntax': 'off' },
  },
  {
    files: ['**/*.cjs'],
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
  {
    files: ['test/**', 'bench/**', 'fuzz/**', 'scripts/**', 'examples/**', '*.config.js'],
    rules: { 'no-console': 'off', 'no-restricted-syntax': 'off', 'max-lines-per-function': ['error', { max: 120 }] },
  },
);
