// One visit to a server with whichever SDK: what it lists, and what each call brings. Task on stdin, findings on stdout.
import { text } from "node:stream/consumers";

export const task = JSON.parse(await text(process.stdin));

export async function visit(client, transport, versionOf, call) {
  await client.connect(transport);
  const { tools } = await client.listTools();
  const answers = [];
  for (const { name, arguments: given } of task.calls) {
    const progress = [];
    const options = { onprogress: (told) => progress.push(told.progress) };
    try {
      answers.push({ result: await call({ name, arguments: given }, options), progress });
    } catch (error) {
      answers.push({ error: { code: error.code, message: error.message }, progress });
    }
  }
  const version = versionOf(transport);
  await client.close();
  console.log(JSON.stringify({ version, tools, answers }));
}
