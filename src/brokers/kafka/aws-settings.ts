/** Settings of `authType: awsiam`, as Dapr names them; the former names go on. */

import { text, type Values } from '../../lib/settings.ts';

export const AWS = {
  region: text({
    default: '',
    aliases: ['awsRegion'],
    description: 'AWS region of the cluster, for `awsiam`, where it is required.',
  }),
  accessKey: text({
    default: '',
    aliases: ['awsAccessKey'],
    description: 'Access key, with `secretKey`. By default what the default provider chain of AWS finds.',
  }),
  secretKey: text({ default: '', aliases: ['awsSecretKey'], description: 'Its secret.' }),
  sessionToken: text({ default: '', aliases: ['awsSessionToken'], description: 'Its session token, if it has one.' }),
  assumeRoleArn: text({
    default: '',
    aliases: ['awsIamRoleArn'],
    description: 'A role to assume, by these credentials or those of the chain.',
  }),
  sessionName: text({
    default: 'DaprDefaultSession',
    aliases: ['awsStsSessionName'],
    description: 'What the session of that role is called.',
  }),
  trustAnchorArn: text({ default: '', description: 'Not supported: it is refused.' }),
  trustProfileArn: text({ default: '', description: 'Not supported: it is refused.' }),
};

export type AwsSettings = Values<typeof AWS>;

const REGION = /^[a-z]+(-[a-z]+)+-\d+$/;
const ROLE = /^arn:[\w-]+:iam::\d{12}:role\/\S+$/;

/** What is wrong, each with what would be right. */
export function awsProblems(settings: AwsSettings): string[] {
  const { region, accessKey, secretKey, sessionToken, assumeRoleArn, trustAnchorArn, trustProfileArn } = settings;
  const problems: string[] = [];
  if (region === '') problems.push('authType awsiam wants region, the AWS region of the cluster such as eu-west-1');
  else if (!REGION.test(region)) problems.push(`region wants an AWS region such as eu-west-1, not '${region}'`);
  if ((accessKey === '') !== (secretKey === '')) {
    problems.push('accessKey and secretKey belong together: give both, or neither for the default provider chain');
  } else if (sessionToken !== '' && accessKey === '') {
    problems.push('sessionToken belongs to accessKey and secretKey: give them too, or leave it out');
  }
  if (assumeRoleArn !== '' && !ROLE.test(assumeRoleArn)) {
    const example = 'arn:aws:iam::123456789012:role/kafka';
    problems.push(`assumeRoleArn wants the ARN of a role such as ${example}, not '${assumeRoleArn}'`);
  }
  if (trustAnchorArn !== '' || trustProfileArn !== '') {
    problems.push(
      'trustAnchorArn and trustProfileArn are not supported: leave them out, and let a profile of AWS get credentials by credential_process',
    );
  }
  return problems;
}
