import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['gen/', 'dist/', 'node_modules/', '.cache/', 'examples/'] },
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
        { selector: "MemberExpression[object.name='process'][property.name='env']", message: 'the environment is read in config/flags.ts' },
      ],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  {
    files: ['test/**', 'bench/**', 'scripts/**', '*.config.js', 'src/cli/**', 'src/dapr.ts', 'src/daprd.ts', 'src/config/flags.ts'],
    rules: { 'no-console': 'off', 'no-restricted-syntax': 'off', 'max-lines-per-function': ['error', { max: 120 }] },
  },
);
