// Which environment variables does the deployment have? Held by `env` and by `process.env`.

export const environment = { variables: Object.create(null) };

// What the process was started with stays: paths and the like.
const own = { ...process.env };

/** Let `env` hold exactly these variables from now on, and `process.env` these and the process's own. */
export function replaceEnvironment(variables) {
  environment.variables = Object.assign(Object.create(null), variables);
  const wanted = { ...own, ...variables };
  for (const name of Object.keys(process.env)) if (!Object.hasOwn(wanted, name)) delete process.env[name];
  Object.assign(process.env, wanted);
}
